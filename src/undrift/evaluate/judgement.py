"""All that is found about a run: figures beside their floors, copies, class frequencies, and what to be careful about."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.config import read_recipe
from undrift.data import Dataset
from undrift.error import UndriftError
from undrift.evaluate.balance import Balance, balance
from undrift.evaluate.distance import Estimate
from undrift.evaluate.gauge import KINDS, Gauge, Kind, gauge, pick
from undrift.evaluate.interval import student, wilson
from undrift.evaluate.memory import Memory
from undrift.evaluate.vectors import Column, columns
from undrift.evaluate.verdict import data_of_model
from undrift.model import Model

SURE = 3.0  # standard errors from the floor before anything is said: by chance once in 370


@dataclass(frozen=True)
class Figure:
    """A figure of samples beside that of as many held-out examples.

    Attributes:
        kind: What it is.
        own, floor: The estimates.
        of: Of how many independent answers it is a share; 0 where it is none.
    """

    kind: Kind
    own: Estimate
    floor: Estimate
    of: int = 0

    def interval(self, estimate: Estimate) -> tuple[float, float]:
        """95 %, of `own` or of `floor`."""
        if self.of:
            return wilson(min(1.0, max(0.0, estimate.value)), self.of)
        low, high = student(estimate)
        return low, min(high, self.kind.most) if high == high else high

    @property
    def verdict(self) -> str:
        """How the samples stand to held-out examples, in words."""
        gap = self.own.value - self.floor.value
        error = math.hypot(*(self._error(e) for e in (self.own, self.floor)))
        if not abs(gap) > SURE * error:  # also where there is no error bar
            return "as real data"
        return "worse than real data" if (gap > 0) == (self.kind.better == "lower") else "beyond real data"

    def _error(self, estimate: Estimate) -> float:
        low, high = self.interval(estimate)
        return (high - low) / 3.92 if self.of else estimate.standard_error


@dataclass(frozen=True)
class Recognised:
    """Share of samples that the judge sees as the class asked for; `floor` is the judge's own on `held_out` examples."""

    share: float
    n: int
    by_class: dict[str, float]
    floor: float
    held_out: int


@dataclass(frozen=True)
class Judgement:
    """What was found about one run.

    Attributes:
        run: Its folder.
        drawn: How samples were drawn, in words.
        space: Where distances were measured, in words.
        n, measured: Samples drawn; and those that figures are of.
        figures: By key of `KINDS`.
        memories: Likeness to training examples, in one or two spaces.
        recognised: For images with classes.
        balances: Class frequencies, "samples" and "held-out data" by the same judge; empty without classes.
        columns: Of vectors, each column by itself, the worst first.
        warnings: What to be careful about.
        likelihood: Lines of a table, where it was asked for.
        samples: `(n, *shape)` in model space.
        seconds: Spent drawing.
    """

    run: str
    drawn: str
    space: str
    n: int
    measured: int
    figures: dict[str, Figure]
    memories: list[Memory]
    recognised: Recognised | None
    balances: dict[str, Balance]
    columns: list[Column]
    warnings: list[str]
    likelihood: list[str]
    samples: Tensor
    seconds: float


@dataclass(frozen=True)
class Ground:
    """What all runs that are compared have in common: their data, and the gauge."""

    train: Dataset
    held_out: Dataset
    gauge: Gauge


def ground(models: dict[str, Model], folders: list[Path], n: int, data_dir: str | None = None, seed: int = 0) -> Ground:
    """Check that runs are of the same data, and make their gauge.

    Raises:
        UndriftError: they are not, or the data are too few.
    """
    sets = [data_of_model(model, folder, data_dir) for model, folder in zip(models.values(), folders, strict=True)]
    first = [part.content_hash() for part in sets[0]]
    for (train, held_out), folder in zip(sets[1:], folders[1:], strict=True):
        if [train.content_hash(), held_out.content_hash()] != first:
            raise UndriftError(
                f"{folder} was trained on other data than {folders[0]}, or another part of them; figures of different data are "
                "not comparable, so evaluate them one by one"
            )
    return Ground(*sets[0], gauge(*sets[0], n, seed, folders[0]))


def judge(model: Model, folder: Path, on: Ground, n: int, drawn: str, likelihood: list[str], **options: Any) -> Judgement:
    """Draw `n` samples, of the classes of the held-out examples they are compared with (any more: of training examples), and measure.

    Runs that are compared get the same classes and, by `seed`, the same noise.

    Args:
        model: As loaded from `folder`.
        on: From `ground`.
        drawn: How, in words, for the report.
        likelihood: Lines, for the report.
        options: Of `Model.draw`.
    """
    classes, ruler = model.spec.classes, on.gauge
    labels = _labels(on, n)
    start = time.perf_counter()
    y = _shown(model, model.draw(n, None if labels is None else labels.tolist(), **options))
    seconds = time.perf_counter() - start
    m = ruler.samples
    own = ruler.figures(y[:m], None if labels is None else labels[:m])
    figures = {k: Figure(KINDS[k], e, ruler.floor[k], ruler.shares.get(k, 0)) for k, e in own.items()}
    recognised, balances = None, {}
    if ruler.judge is not None and labels is not None:
        right = ruler.judge.classify(y) == labels
        by_class = {c: float(right[labels == k].double().mean()) for k, c in enumerate(classes) if (labels == k).any()}
        recognised = Recognised(float(right.double().mean()), n, by_class, ruler.judge.accuracy, ruler.judge.held_out)
        if read_recipe(folder / "config.yaml").label_dropout > 0:  # else it never learnt to choose a class by itself
            plain = {k: v for k, v in options.items() if k in ("sampler", "steps", "grid", "seed")}
            free = ruler.judge.classify(_shown(model, model.draw(n, None, **plain)))
            shares = torch.from_numpy(on.train.labels)
            unseen = ruler.judge.classify(pick(on.held_out, len(on.held_out), 0)[0])
            balances = {"samples": balance(free, shares, classes), "held-out data": balance(unseen, shares, classes)}
    flat = () if "energy" not in figures else columns(y[:m], pick(on.train, 5000, 0)[0])
    return Judgement(
        str(folder), drawn, ruler.space, n, m, figures, ruler.memories(y), recognised, balances, list(flat),
        warnings(on, n, balances), likelihood, y, seconds,
    )  # fmt: skip


def warnings(on: Ground, n: int, balances: dict[str, Balance]) -> list[str]:
    """What a reader must know before believing the figures, one line each."""
    ruler, said = on.gauge, []
    m, d = ruler.samples, ruler.size
    if m < n:
        said.append(f"figures are of the first {m:,} samples: there are only {m:,} examples to compare as many with")
    if "frechet" in ruler.floor and m <= d:
        said.append(
            f"{m:,} samples in {d} features: fewer than it takes, so the Fréchet distance compares covariances of rank {m - 1} only; "
            f"ask for {10 * d:,} or more, or read the kernel distance"
        )
    elif "frechet" in ruler.floor and m < 10 * d:
        said.append(
            f"{m:,} samples in {d} features, fewer than ten for each: the Fréchet distance is rough, the kernel distance is not"
        )
    if m < 200:
        said.append(f"{m:,} samples: too few for twenty groups, so the error bars are themselves uncertain")
    if on.train.labels is not None and len(set(on.train.labels.tolist())) < 2:
        said.append("one class only: recognition, the inception score and class frequencies need two, and are left out")
    if ruler.judge is not None and ruler.judge.accuracy < 0.9:
        said.append(
            f"the classifier is right on {100 * ruler.judge.accuracy:.1f} % of held-out examples only: recognition and class "
            "frequencies are not to be trusted"
        )
    for what, found in balances.items():
        if found.fewest < 5:
            said.append(f"class frequencies of {what}: a class is expected {found.fewest:.1f} times, fewer than 5; p is rough")
    return said


def _labels(on: Ground, n: int) -> Tensor | None:
    """`(n,)` classes: first those of the held-out examples of the floor, then of training examples in turn; None without labels."""
    if on.gauge.classes is None:
        return None
    _, more = pick(on.train, len(on.train), 0)
    assert more is not None
    return torch.cat([on.gauge.classes, more.repeat(n // len(more) + 1)])[:n]


def _shown(model: Model, y: Tensor) -> Tensor:
    """Samples as the user gets them, rounded and clipped, in model space."""
    return model.spec.to_model(model.spec.from_model(y))
