"""Successive halving: ever more samples for ever fewer settings.

Three rounds. First every sampler on every grid at one number of evaluations, of which the best pairs go on; then those at all
numbers; then what is not clearly worse than the best. No round has fewer samples than the metric takes. All start from the same
noise, so that a setting's lead is judged by the error bar of the difference. Samples have addresses, so a later round draws only
what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from undrift.distributed.processes import here
from undrift.error import UndriftError
from undrift.metrics.criterion import Criterion
from undrift.metrics.estimate import Estimate
from undrift.tuning.choice import WITHIN, choose, sigmas
from undrift.tuning.setting import Setting, deterministic

Draw = Callable[[Setting, int, int], Tensor]  # setting, first, count: samples `first` to `first + count` of the setting
PAIRS = 6  # of sampler and grid, that go on from the first round
FEW = 100  # samples of an early round at least: of fewer, metrics in a hundred dimensions are more chance than quality
CLEARLY = 4.0  # standard errors of a difference that end the race for a setting


@dataclass(frozen=True)
class Row:
    """What was measured of one setting.

    Attributes:
        setting: Sampler, grid, steps, evaluations.
        n: Samples; fewer than others have if the setting was dropped early.
        quality: The metric; lower is better.
        also: Other metrics by name.
        seconds: That drawing the samples took.
    """

    setting: Setting
    n: int
    quality: Estimate
    also: dict[str, float]
    seconds: float


def best(rows: Sequence[Row]) -> Row:
    """The row with the lowest metric, among those with the most samples; of equal ones the cheapest."""
    most = max(row.n for row in rows)
    return min((row for row in rows if row.n == most), key=lambda row: (row.quality.value, row.setting.evaluations))


def recommend(rows: Sequence[Row], present: Setting | None = None) -> Row:
    """The cheapest row within the error bars of the best, of those with the most samples; of equals that in use, else the better.

    Where samples are recognised, that too: guided samples are sharper than data, so that a coarse sampler which blurs them can be
    nearer to the data and yet be wrong more often.

    Args:
        rows: At least one.
        present: The setting that is in use.
    """
    n = best(rows).n
    most = max(row.also.get("recognised", 0.0) for row in rows if row.n == n)
    fit = [row for row in rows if row.n == n and not _less_recognised(row, most)]
    ranked = sorted(fit, key=lambda row: (row.quality.value, row.setting.evaluations))
    now = next((row for row in fit if row.setting == present), None)
    return choose(ranked, _worse_by, lambda row: row.setting.evaluations, now)


def _less_recognised(row: Row, most: float) -> bool:
    """Whether clearly fewer samples are recognised than of the setting with the most."""
    seen = row.also.get("recognised", most)
    variance = (seen * (1 - seen) + most * (1 - most)) / row.n
    return sigmas(most - seen, max(variance, 1e-12) ** 0.5) > WITHIN


def _worse_by(row: Row, other: Row) -> float:
    """How much worse, in standard errors of the difference."""
    gap = row.quality.minus(other.quality)
    return sigmas(gap.value, gap.standard_error)


def _at_worst(row: Row, other: Row) -> float:
    """How much worse, a standard error of the difference added: among many settings the noisy ones lead by chance."""
    gap = row.quality.minus(other.quality)
    return gap.value + gap.standard_error


class Race:
    """The settings, each with the samples drawn so far."""

    def __init__(self, draw: Draw, criterion: Criterion, tell: Callable[[str], None]) -> None:
        self.draw, self.criterion, self.tell = draw, criterion, tell
        self.rows: dict[Setting, Row] = {}
        self.samples: dict[Setting, Tensor] = {}
        self.notes: dict[str, None] = {}

    def run(self, settings: Iterable[Setting], n: int, what: str) -> list[Row]:
        """Bring settings to n samples; those that cannot be drawn get a note."""
        done, settings = [], list(settings)
        for i, setting in enumerate(settings):
            self.tell(f"{what}, {i + 1} of {len(settings)}: {setting}")
            try:
                done.append(self._row(setting, n))
            except (ValueError, UndriftError) as error:
                self.notes[f"{setting.sampler} is left out: {error}"] = None
            except RuntimeError as error:
                if "not finite" not in str(error):
                    raise
                self.notes[f"{setting} is left out: {error}"] = None
        return done

    def _row(self, setting: Setting, n: int) -> Row:
        before = self.rows.get(setting)
        if before is not None and before.n >= n:
            return before
        had = before.n if before is not None else 0
        begun = time.perf_counter()
        y = self.draw(setting, had, n - had)
        seconds = time.perf_counter() - begun + (before.seconds if before is not None else 0.0)
        y = torch.cat([self.samples[setting], y]) if had else y
        row = Row(setting, n, self.criterion.quality(y), self.criterion.also(y, deterministic(setting)), seconds)
        self.samples[setting], self.rows[setting] = y, row
        return row


def race(
    draw: Draw,
    criterion: Criterion,
    settings: Sequence[Setting],
    n: int,
    evaluations: Sequence[int],
    present: Setting | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[tuple[Row, ...], list[str]]:
    """Three rounds of ever more samples for ever fewer settings.

    Args:
        draw: `(setting, first, count)` to samples `first` to `first + count`.
        settings: All that may take part.
        evaluations: The numbers asked for; the first round is at the middle one.
        present: A setting that stays to the end.

    Returns:
        Rows, and a note for each setting that cannot be drawn.

    Raises:
        UndriftError: none can.
    """
    processes = here()  # all go on with the settings that the first one chooses, however the machines of the others round
    runners, least = Race(draw, criterion, tell), max(FEW, criterion.least)
    pairs = list(dict.fromkeys((s.sampler, s.grid) for s in settings))
    if len(pairs) > PAIRS:
        middle = sorted(evaluations)[(len(evaluations) - 1) // 2]  # where all are good, chance would choose
        rows = runners.run(_nearest(settings, pairs, middle), min(n, max(least, n // 8)), "first round")
        rows = sorted(rows, key=lambda row: processes.broadcast(_at_worst(row, best(rows))))
        pairs = [(row.setting.sampler, row.setting.grid) for row in rows[:PAIRS]]
    some = [s for s in settings if (s.sampler, s.grid) in pairs]
    if present is not None and present not in some:
        some.append(present)
    rows = runners.run(some, n if n < 4 * FEW else min(n, max(least, n // 4)), "second round")
    if not rows:
        raise UndriftError(f"no setting can be drawn: {next(iter(runners.notes), 'none was asked for')}")
    first = best(rows)
    stay = [r for r in rows if processes.broadcast(_worse_by(r, first)) <= CLEARLY or r.setting == present]
    runners.run((r.setting for r in stay), n, "last round")
    order = sorted(runners.rows.values(), key=lambda r: (r.setting.evaluations, r.quality.value))
    return tuple(order), list(runners.notes)


def _nearest(settings: Sequence[Setting], pairs: Sequence[tuple[str, str]], evaluations: int) -> list[Setting]:
    """For each pair the setting that is nearest to a number of evaluations."""
    mine = ([s for s in settings if (s.sampler, s.grid) == pair] for pair in pairs)
    return [min(some, key=lambda s: abs(s.evaluations - evaluations)) for some in mine]
