"""Settings of a sampler: which sampler, on which grid, in how many steps, at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from undrift.error import UndriftError, nearest
from undrift.process import Process
from undrift.recipe.tables import SAMPLERS
from undrift.sampler import Sampler
from undrift.times import Grid


@dataclass(frozen=True)
class Setting:
    """One way of sampling, by name, and what it costs: evaluations of the denoiser for each sample."""

    sampler: str
    grid: str
    steps: int
    evaluations: int

    def __str__(self) -> str:
        return f"{self.sampler}, {self.steps} steps on {self.grid}"


def deterministic(setting: Setting) -> bool:
    """Whether samples depend on the starting noise alone: no stochastic sampler, or one with its noise turned off."""
    return noiseless(SAMPLERS[setting.sampler])


def noiseless(sampler: Sampler) -> bool:
    """Whether a sampler draws no random numbers."""
    return not sampler.stochastic or getattr(sampler, "eta", None) == 0


def names(what: str, given: Sequence[str] | None, table: Mapping[str, object]) -> list[str]:
    """The names given, checked; all of the table where none is.

    Raises:
        UndriftError: an unknown name; the nearest is named.
    """
    for name in given or ():
        if name not in table:
            raise UndriftError(f'{what} "{name}" is unknown{nearest(name, table)}')
    return list(dict.fromkeys(given or table))


def possible(
    process: Process, samplers: Iterable[str], grids: Mapping[str, Grid], evaluations: Iterable[int]
) -> tuple[list[Setting], list[str]]:
    """All settings of a process that differ, each at the most steps that a number of evaluations pays for.

    Args:
        process: What is sampled.
        samplers: Names in `SAMPLERS`.
        grids: The grids by name.
        evaluations: Budgets.

    Returns:
        The settings, and a note for all that is left out.
    """
    found: dict[object, Setting] = {}
    notes: dict[str, None] = {}  # an ordered set
    for name in samplers:
        sampler = SAMPLERS[name]
        counts = sorted({sampler.steps_within(budget) for budget in evaluations} - {0})
        if not counts:
            unknown = sampler.evaluations(1) is None
            why = (
                "it takes as many evaluations as it needs"
                if unknown
                else f"it needs at least {sampler.evaluations(1)} evaluations"
            )
            notes[f"{name} is left out: {why}"] = None
        for grid, layout in grids.items():
            for steps in counts:
                try:
                    times = layout(process, steps)
                except ValueError as error:
                    notes[f"{grid} with {steps} steps is left out: {error}"] = None
                    continue
                cost = sampler.evaluations(len(times) - 1)  # a grid may leave steps out
                assert cost is not None
                found.setdefault((repr(sampler), tuple(times.round(decimals=9).tolist())), Setting(name, grid, steps, cost))
    return list(found.values()), list(notes)
