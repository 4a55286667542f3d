"""Training a noise-aware classifier p(y | x_t) for a run: on its data, with its process, at its noise levels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn

from undrift.data import Dataset
from undrift.data.order import Order
from undrift.denoiser import numbers_like
from undrift.error import UndriftError
from undrift.model import Model
from undrift.noise import Noise
from undrift.noisy_classifier import TrainedClassifier, fresh_classifier
from undrift.objective import lognormal
from undrift.objective.quantile import Quantile, draw
from undrift.recipe.recipe import Recipe


def train_classifier(
    model: Model,
    recipe: Recipe,
    data: Dataset,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    batch_size: int = 64,
    rate: float = 3e-3,
    tell: Callable[[str], None] = lambda text: None,
) -> TrainedClassifier:
    """Train from fresh weights: cross-entropy at noise levels drawn as the run's objective draws them.

    Args:
        model: The run's model.
        recipe: The run's; its seed and its law of the training times are taken.
        data: The run's training part.
        minutes, steps: Where to stop, whichever comes first; default: 3 minutes.
        batch_size, rate: Of AdamW, the rate warmed up over 50 steps and brought to zero by a cosine.
        tell: Called with a line on how it goes, each step.

    Raises:
        UndriftError: data without classes, other data than the model's, or a loss that is not finite.
        ValueError: an end that is not ahead.
    """
    if data.labels is None or len(data.spec.classes) < 2:
        raise UndriftError(f"{data.name} has no classes to tell apart, so there is nothing to train a classifier on")
    if data.spec != model.spec or model.trained.get("data_hash", data.content_hash()) != data.content_hash():
        raise UndriftError(f"{data.name} is not what the model was trained on; give its own --data-dir")
    if (minutes is not None and not minutes > 0) or (steps is not None and steps < 1):
        raise ValueError(f"minutes={minutes}, steps={steps}: give at least one step, or some time.")
    seconds = 60 * (minutes or 3.0) if minutes is not None or steps is None else math.inf
    prior = torch.bincount(torch.from_numpy(data.labels), minlength=len(data.spec.classes)).double()
    if bool((prior == 0).any()):
        raise UndriftError(f"class {data.spec.classes[int(prior.argmin())]} of {data.name} has no examples to learn from")
    device = numbers_like(model.denoiser).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        trained = fresh_classifier(model, prior)
    classifier = trained.classifier.to(device).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), rate, weight_decay=0.05, fused=True)
    order, when, start, step, smooth, done = Order(len(data), recipe.seed), _times(recipe), time.perf_counter(), 0, math.nan, 0.0
    while done < 1:
        x0, labels = (part.to(device) for part in data.batch(order.rows(step, batch_size)) if part is not None)
        noise = Noise(range(batch_size)).fold("classifier", recipe.seed, step)
        t = draw(classifier.process, when, noise)
        x = classifier.process.perturb(x0, t, noise.fold("eps").normal(x0))
        loss = nn.functional.cross_entropy(classifier.logits(x, t), labels)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        if not math.isfinite(value := loss.item()):
            raise UndriftError(f"step {step}: the loss of the classifier is {value}; nothing was written")
        optimizer.step()
        step, smooth = step + 1, value if smooth != smooth else 0.98 * smooth + 0.02 * value
        spent = time.perf_counter() - start
        done = max(spent / seconds, step / steps if steps else 0.0)
        tell(f"classifier {100 * min(1, done):3.0f} %  step {step}  cross-entropy {smooth:.3f}")
    trained.trained = {
        "steps": step, "examples": step * batch_size, "seconds": round(time.perf_counter() - start, 1), "data": data.name,
    }  # fmt: skip
    classifier.eval().requires_grad_(False)
    return trained


def _times(recipe: Recipe) -> str | Quantile:
    """The law of the training times; importance weights belong to a denoiser's loss, so there it is uniform."""
    o = recipe.objective
    return (
        lognormal(o.mean, o.std) if o.times == "lognormal" else "low_discrepancy" if o.times == "low_discrepancy" else "uniform"
    )
