"""All that is found about a run: metrics beside their floors, copies, class frequencies, and what to be careful about."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.data import Dataset
from undrift.error import UndriftError
from undrift.evaluation.warnings import warnings
from undrift.metrics.balance import Balance, balance
from undrift.metrics.inception_space import inception_space
from undrift.metrics.marginal import Column, columns
from undrift.metrics.memorization import Memory
from undrift.metrics.metric import Space
from undrift.metrics.reference import Reference, pick
from undrift.metrics.result import MetricResult, Recognised, Share
from undrift.model import Model
from undrift.run import Run


@dataclass(frozen=True, repr=False)
class Judgement:
    """What was found about one run.

    Attributes:
        run: Its folder.
        drawn: How samples were drawn, in words.
        n, measured: Samples drawn; and those that metrics are of.
        spaces: Where distances were measured, in words; each with the keys of its metrics.
        metrics: Those that were measured, by key of `undrift.metrics.registry.METRICS`.
        missing: Why the others were not. Beside the keys of metrics, "recognised" and "balances".
        memories: Likeness to training examples, in one or two spaces.
        recognised: For images with classes; None where missing.
        balances: Class frequencies, "samples" and "held-out data" by the same judge; empty where missing.
        columns: Of vectors, each column by itself, the worst first.
        warnings: What to be careful about.
        likelihood: Lines of a table, where it was asked for.
        samples: `(n, *shape)` in model space.
        asked: `(n,)` the class that was asked of each; None without classes.
        seconds: Spent drawing.
    """

    run: str
    drawn: str
    n: int
    measured: int
    spaces: dict[str, tuple[str, ...]]
    metrics: dict[str, MetricResult]
    missing: dict[str, str]
    memories: list[Memory]
    recognised: Recognised | None
    balances: dict[str, Balance]
    columns: list[Column]
    warnings: list[str]
    likelihood: list[str]
    samples: Tensor
    asked: Tensor | None
    seconds: float

    def __repr__(self) -> str:
        """One line; `str` is the report."""
        worse = [r.metric.name for r in self.metrics.values() if r.verdict == "worse than real data"]
        named = f": {', '.join(worse)}" * bool(worse)
        return f"Judgement of {self.n:,} samples: {len(worse)} of {len(self.metrics)} metrics are worse than real data{named}"

    def __str__(self) -> str:
        from undrift.evaluation.report import lines

        return "\n".join(lines([self]))


def reference_of(
    models: dict[str, Model],
    folders: list[Path],
    n: int,
    data_dir: str | None = None,
    seed: int = 0,
    inception: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Reference:
    """Check that runs are of the same data, and make what their samples are held against.

    Args:
        inception: Weights of the Inception network, to measure in its features as well.
        tell: Called with a line about the progress.

    Raises:
        UndriftError: they are not, or the data are too few, or the weights are none.
    """
    sets = [Run(folder, data_dir).data_of(model) for model, folder in zip(models.values(), folders, strict=True)]
    first = [part.content_hash() for part in sets[0]]
    for (train, held_out), folder in zip(sets[1:], folders[1:], strict=True):
        if [train.content_hash(), held_out.content_hash()] != first:
            raise UndriftError(
                f"{folder} was trained on other data than {folders[0]}, or another part of them; metrics of different data are "
                "not comparable, so evaluate them one by one"
            )

    def more(train: Dataset, held_out: Dataset, m: int) -> Space:
        assert inception is not None
        return inception_space(inception, train, held_out, m, seed, folders[0], tell)

    device = next(iter(models.values())).device
    return Reference(*sets[0], n, seed, folders[0], more=None if inception is None else more, device=device)


def judge(model: Model, folder: Path, on: Reference, n: int, drawn: str, likelihood: list[str], **options: Any) -> Judgement:
    """Draw `n` samples, of the classes of the held-out examples they are compared with (any more: of training examples), and measure.

    Runs that are compared get the same classes and, by `seed`, the same noise.

    Args:
        model: As loaded from `folder`.
        on: From `reference_of`.
        drawn: How, in words, for the report.
        likelihood: Lines, for the report.
        options: Of `Model.draw`.
    """
    classes = model.spec.classes
    labels = _labels(on, n)
    start = time.perf_counter()
    y = _shown(model, model.draw(n, None if labels is None else labels.tolist(), **options))
    seconds = time.perf_counter() - start
    m = on.samples
    metrics: dict[str, MetricResult] = {}
    missing: dict[str, str] = {}
    spaces: dict[str, tuple[str, ...]] = {}
    for space in on.spaces:
        own = space.estimates(y[:m], None if labels is None else labels[:m])
        metrics |= {k: MetricResult(space.metrics[k], e, space.floor[k], space.metrics[k].answers(m)) for k, e in own.items()}
        missing |= space.missing
        spaces[space.name] = (*own, *space.missing)
    recognised, balances = None, {}
    if on.judge is not None and labels is not None:
        right, known = on.judge.classify(y) == labels, on.judge.held_out
        by_class = {c: Share(int(right[labels == k].sum()), int((labels == k).sum())) for k, c in enumerate(classes)}
        floor = Share(round(on.judge.accuracy * known), known)
        recognised = Recognised(Share(int(right.sum()), n), {c: s for c, s in by_class.items() if s.n}, floor)
        if model.trained.get("label_dropout") != 0:
            plain = {k: v for k, v in options.items() if k in ("sampling", "sampler", "steps", "grid", "seed")}
            free = on.judge.classify(_shown(model, model.draw(n, None, **plain)))
            shares = torch.from_numpy(on.train.labels)
            unseen = on.judge.classify(pick(on.held_out, len(on.held_out), 0)[0])
            balances = {"samples": balance(free, shares, classes), "held-out data": balance(unseen, shares, classes)}
        else:
            missing["balances"] = "the model never learnt to choose a class by itself (label_dropout is 0)"
    elif on.judge is None and labels is not None and "inception" not in missing:
        why = "a classifier is trained of pictures of at least 8 x 8 only"
        missing |= {"recognised": why, "balances": why}
    elif "inception" in missing:
        missing |= {"recognised": missing["inception"], "balances": missing["inception"]}
    flat = () if "energy" not in metrics else columns(y[:m], pick(on.train, 5000, 0)[0])
    return Judgement(
        str(folder), drawn, n, m, spaces, metrics, missing, on.memories(y), recognised, balances, list(flat),
        warnings(on, n, balances), likelihood, y, labels, seconds,
    )  # fmt: skip


def _labels(on: Reference, n: int) -> Tensor | None:
    """`(n,)` classes: first those of the held-out examples of the floor, then of training examples in turn; None without labels."""
    if on.classes is None:
        return None
    _, more = pick(on.train, len(on.train), 0)
    assert more is not None
    return torch.cat([on.classes, more.repeat(n // len(more) + 1)])[:n]


def _shown(model: Model, y: Tensor) -> Tensor:
    """Samples as the user gets them, rounded and clipped, in model space."""
    return model.spec.to_model(model.spec.from_model(y)).cpu()
