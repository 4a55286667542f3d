"""The parts in the metric of quality: repair one thing after the other, and see what each repair takes away.

    as sampled -> steps doubled until nothing changes -> started from noised data -> guidance scale 1 -> the exact denoiser

Every stage starts from the same noise and asks for the same classes, so what a repair takes away has an error bar of its own (the
noise cancels), and the parts add up to the metric. What no repair takes away lies between the last stage and the floor, which is what
real data get. Where the exact denoiser is not known, that is the score's, with the wider error bar of an unpaired difference.

The order matters only where repairs interact. The steps come first, since too few of them spoil everything that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from undrift import condition
from undrift.denoiser import AnyDenoiser, numbers_like
from undrift.diagnosis.measure import Number
from undrift.guidance import Mix
from undrift.metrics.criterion import Criterion
from undrift.metrics.estimate import Estimate
from undrift.sampler import Sampler, sample
from undrift.times import Grid
from undrift.tuning.choice import WITHIN, sigmas
from undrift.tuning.setting import noiseless

DOUBLINGS = 3  # at most


@dataclass(frozen=True)
class Way:
    """One way of sampling.

    Attributes:
        denoiser: Without guidance.
        start: `(n, *D)` data to start from, noised to t_max; None: the prior.
        scale: Guidance scale.
    """

    denoiser: AnyDenoiser
    sampler: Sampler
    steps: int
    grid: Grid
    scale: float = 1.0
    start: Tensor | None = None


@dataclass(frozen=True)
class Task:
    """What is sampled: `n` of this shape, told this, from the noise of this seed, and how they are finished and judged."""

    n: int
    shape: tuple[int, ...]
    cond: condition.Condition | Tensor | None
    criterion: Criterion
    seed: int = 0
    finish: Callable[[Tensor], Tensor] = lambda y: y

    def draw(self, way: Way) -> Tensor:
        """`(n, *D)` samples in model space."""
        denoiser = way.denoiser
        if way.scale != 1 and self.cond is not None:
            denoiser = Mix(denoiser, denoiser.given(None), way.scale)
        like = numbers_like(way.denoiser)
        y = sample(
            denoiser, (self.n, *self.shape), way.sampler, way.steps, self.seed, self.cond, grid=way.grid, like=like, start=way.start
        )  # fmt: skip
        return self.finish(y)


@dataclass(frozen=True)
class Stage:
    """A way of sampling with its metric."""

    way: Way
    samples: Tensor
    quality: Estimate


@dataclass(frozen=True)
class Repairs:
    """What each repair takes away from the metric; the parts add up to it.

    Attributes:
        metric: As sampled.
        parts: By name, from the first repair to the last: "discretisation", "prior", "guidance", "score", and "finite sample",
            what is left in the end.
        steps: Of the last doubling.
        moved: For a sampler without noise the distance, root mean square over samples and entries, by which the first doubling
            moves the samples, in model space; else None.
        ema: What the other weights would take away from the metric as sampled; None where there are none.
        notes: What could not be repaired.
    """

    metric: Number
    parts: dict[str, Number]
    steps: int
    moved: float | None
    ema: Number | None
    notes: tuple[str, ...]


def repairs(
    task: Task,
    way: Way,
    real: Tensor,
    exact: AnyDenoiser | None = None,
    other: AnyDenoiser | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Repairs:
    """Sample, repair, and sample again.

    Args:
        real: `(n, *D)` real data to start from, not those of the criterion.
        exact: The exact denoiser, where it is known.
        other: The other weights.
        tell: Called with a line about the progress.
    """

    def stage(what: str, way: Way) -> Stage:
        tell(f"sampling {what}")
        samples = task.draw(way)
        return Stage(way, samples, task.criterion.quality(samples))

    first = stage("as the model does", way)
    parts: dict[str, Number] = {}
    last, moved, notes = _doubled(stage, first)
    if last is not first:
        parts["discretisation"] = _gain(first, last)
    before, last = last, stage("from noised data", replace(last.way, start=real))
    parts["prior"] = _gain(before, last)
    if task.cond is not None and way.scale != 1:
        before, last = last, stage("without guidance", replace(last.way, scale=1.0))
        parts["guidance"] = _gain(before, last)
    floor = task.criterion.floor
    if exact is not None:
        before, last = last, stage("with the exact score", replace(last.way, denoiser=exact))
        parts["score"] = _gain(before, last)
        parts["finite sample"] = _number(last.quality)
    else:
        parts["score"] = Number(last.quality.value - floor.value, last.quality.apart(floor))
        parts["finite sample"] = _number(floor)
    ema = None if other is None else _gain(first, stage("with the other weights", replace(way, denoiser=other)))
    return Repairs(_number(first.quality), parts, last.way.steps, moved, ema, notes)


def _doubled(stage: Callable[[str, Way], Stage], first: Stage) -> tuple[Stage, float | None, tuple[str, ...]]:
    """The first stage with twice, four, eight times the steps, until the metric no longer changes; how far samples moved."""
    way, moved, last = first.way, None, first
    if way.sampler.evaluations(1) is None:
        return first, None, (f"discretisation: {type(way.sampler).__name__} chooses its own steps, so none are doubled",)
    for k in range(1, DOUBLINGS + 1):
        steps = way.steps * 2**k
        try:
            way.grid(way.denoiser.process, steps)
        except ValueError as error:
            notes = (f"discretisation: {steps} steps are not possible: {error}",)
            return last, moved, notes
        before, last = last, stage(f"in {steps} steps", replace(way, steps=steps))
        if k == 1 and noiseless(way.sampler):
            moved = float((last.samples - first.samples).double().square().mean().sqrt())
        gap = before.quality.minus(last.quality)
        if sigmas(abs(gap.value), gap.standard_error) <= WITHIN:
            break
    return last, moved, ()


def _gain(before: Stage, after: Stage) -> Number:
    return _number(before.quality.minus(after.quality))


def _number(estimate: Estimate) -> Number:
    return Number(estimate.value, estimate.standard_error)
