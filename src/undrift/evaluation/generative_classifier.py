"""A generative model as a classifier: the class under which an example is most likely (Bayes' rule).

    p(y | x) = p(y) p(x | y) / sum over y'

log p(x | y) is the variational bound given the class, or the exact density of the probability flow. The bound is an average over
noise, but all classes are asked about the same noised examples, so that most of its scatter is common to them and drops out of
the comparison (Li et al. 2023, "Your diffusion model is secretly a zero-shot classifier", sec. 3.2; Clark & Jaini 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from undrift.bound import variational_bound
from undrift.data.stream import stream
from undrift.denoiser import AnyDenoiser
from undrift.error import UndriftError
from undrift.evaluation.likelihood import bound_end
from undrift.likelihood import log_likelihood
from undrift.model import Model
from undrift.noise import Noise
from undrift.run import Run


@torch.no_grad()
def class_log_prob(
    denoiser: AnyDenoiser,
    x: Tensor,
    classes: int,
    method: Literal["bound", "likelihood"] = "bound",
    *,
    noise: Noise | None = None,
    **options: Any,
) -> Tensor:
    """log p(x | y) for every class y, or what bounds it from below: `(B, C)` float64, nats in model space.

    Args:
        denoiser: Any class-conditional denoiser.
        x: `(B, *D)` data in model space.
        classes: Number of classes C.
        method: "bound", `points + 1` calls for each class and draw; or "likelihood", the exact density of the flow.
        noise: For the bound: one address per sample, the same for all classes. Default: addressed by 0, 1, ...
        options: Of `variational_bound` or `log_likelihood`.

    Raises:
        ValueError: fewer than two classes, an unknown method, or options that make no sense.
    """
    if classes < 2:
        raise ValueError(f"`classes` must be at least 2, got {classes}.")
    if method not in ("bound", "likelihood"):
        raise ValueError(f'method "{method}" is unknown: use "bound" or "likelihood".')
    found = []
    for y in range(classes):
        cond = torch.full((len(x),), y, device=x.device)
        if method == "bound":
            found.append(-variational_bound(denoiser, x, cond=cond, noise=noise, **options).value)
        else:
            found.append(log_likelihood(denoiser, x, cond=cond, **options).value)
    return torch.stack(found, 1).cpu()


def posterior(log_prob: Tensor, log_prior: Tensor | None = None) -> Tensor:
    """Class probabilities p(y | x) `(B, C)` by Bayes' rule.

    Args:
        log_prob: `(B, C)` log p(x | y).
        log_prior: `(C,)` log p(y). Default: all classes equally likely.
    """
    return (log_prob if log_prior is None else log_prob + log_prior.to(log_prob)).softmax(1)


@dataclass(frozen=True)
class Classified:
    """What was found: `(N,)` true classes, `(N, C)` probabilities, and calls of the network for each example."""

    labels: Tensor
    probabilities: Tensor
    evaluations: int

    @property
    def accuracy(self) -> float:
        """Share of examples whose most likely class is the true one."""
        return float((self.probabilities.argmax(1) == self.labels).double().mean())

    def lines(self) -> list[str]:
        """The result in words."""
        n, p = len(self.labels), self.accuracy
        return [
            f"generative classifier: right on {100 * p:.1f} +- {100 * math.sqrt(p * (1 - p) / n):.1f} % of {n} held-out examples",
            f"  the class with the highest variational bound, same noise for all; {self.evaluations} evaluations for each example",
        ]


def classify_held_out(
    model: Model, folder: Path, n: int, data_dir: str | None = None, *, points: int = 32, seed: int = 0, batch_size: int = 256
) -> Classified:
    """Classify held-out data of a run by the model that the run has trained.

    Args:
        model: As loaded from `folder`, class-conditional.
        folder: The run.
        n: How many examples, drawn by `seed`; all where there are no more.
        data_dir: Where the data are, if no longer where they were.
        points: Noise levels that each class is asked at.
        seed: Names the examples and the noise.
        batch_size: Examples at a time.

    Raises:
        UndriftError: a model without classes, n below 1, data that cannot be read.
    """
    if len(model.spec.classes) < 2:
        raise UndriftError("a classifier needs a model of at least two classes; this one was trained without")
    if n < 1:
        raise UndriftError(f"-n {n}: ask about at least one example")
    _, data = Run(folder, data_dir).data()
    if data.spec.classes != model.spec.classes or data.spec.shape != model.spec.shape:
        raise UndriftError(f"{data.name} has other shapes or classes than the model was trained on; give its own --data-dir")
    rows = torch.from_numpy(stream(seed, "classifier").permutation(len(data))[:n].copy()).sort().values
    denoiser, bins = bound_end(model)
    count, found, truth = len(model.spec.classes), [], []
    for part in torch.split(rows, batch_size):
        x, labels = data.raw(part), data.batch(part)[1]
        assert labels is not None
        noise = Noise(part).fold("classifier", seed)
        y = model.to_model(x)
        found.append(posterior(class_log_prob(denoiser, y, count, noise=noise, points=points, bins=bins)))
        truth.append(labels)
    levels = denoiser.process.levels
    calls = count * (points + 1 if levels is None else len(levels) - 1)
    return Classified(torch.cat(truth), torch.cat(found), calls)
