"""What a study is: one experiment of a paper, measured, and each of its claims judged by a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from undrift.metrics.estimate import Estimate
from undrift.metrics.interval import wilson
from undrift.study.context import StudyContext

Measured = dict[str, Any]  # whatever a study measured, by name
Seen = tuple[str, bool | None]  # what we get, in words, and whether that is what was wanted; None: the error bars leave it open

PAPER = "claim"  # what the paper says it saw
MISPRINT = "misprint"  # a formula or an algorithm as the paper prints it
OURS = "question"  # our own: what the paper implies, or what its reader would ask next


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, with the measurement that would confirm it.

    Attributes:
        says: The claim, short.
        where: Its place in the paper.
        wanted: What we would have to see: the tolerance, in words.
        seen: Of what was measured: what we get, and whether it is what was wanted.
        why: Why we differ, as far as we know; shown where we do.
        kind: `PAPER`, `MISPRINT` or `OURS`; they are counted apart.
    """

    says: str
    where: str
    wanted: str
    seen: Callable[[Measured], Seen]
    why: str = ""
    kind: str = PAPER


@dataclass(frozen=True)
class Finding:
    """A claim with what we measured. `verdict` is "holds", "within error" or "differs"."""

    says: str
    where: str
    wanted: str
    ours: str
    verdict: str
    why: str = ""
    kind: str = PAPER


VERDICTS = {True: "holds", None: "within error", False: "differs"}


@dataclass(frozen=True)
class Study:
    """One experiment of a paper: how to measure, the claims to judge, and the figure to draw.

    Attributes:
        name: The paper's number and the figure, such as `000-fig4`; what the command line calls it.
        title: What it is about.
        source: Section, figure and table of the paper.
        covers: Ids of the experiments of the papers, `X1` to `X19`.
        measure: Draws and measures, with what a `StudyContext` gives.
        claims: Each judged by what was measured.
        figure: The figure in the paper's layout.
        caption: What it shows.
        table: Further numbers, a head and rows, or none.
        toy: Whether it needs neither digits nor a trained model.
    """

    name: str
    title: str
    source: str
    covers: tuple[str, ...]
    measure: Callable[[StudyContext], Measured]
    claims: tuple[Claim, ...]
    figure: Callable[[Measured], Image.Image]
    caption: str
    table: Callable[[Measured], list[list[str]]] = lambda m: []
    toy: bool = False

    @property
    def paper(self) -> str:
        """The paper's number, `000` to `004`."""
        return self.name.partition("-")[0]

    def judge(self, measured: Measured) -> tuple[Finding, ...]:
        """A verdict on each claim."""
        found = []
        for claim in self.claims:
            ours, holds = claim.seen(measured)
            why = claim.why if holds is False else ""  # where nobody can say, there is nothing to explain
            found.append(Finding(claim.says, claim.where, claim.wanted, ours, VERDICTS[holds], why, claim.kind))
        return tuple(found)

    def run(self, context: StudyContext) -> Result:
        """Measure, judge each claim, and draw the figure."""
        context.begin()
        measured = self.measure(context)
        wall, processor = context.spent()
        return Result(
            self.name, self.judge(measured), self.table(measured), round(wall, 1), round(processor, 1), context.settings, tuple(context.used),
            context.key(self.toy), self.figure(measured),
        )  # fmt: skip


@dataclass(frozen=True)
class Result:
    """The result of a study: findings, figure, table, and what they depend on.

    Attributes:
        study: Its name.
        findings: One for each claim.
        table: A head and rows, or nothing.
        seconds: Wall clock, without the training of what is shared.
        processor: Of the same, the seconds of the processor: on a busy machine they are fewer.
        settings: In words.
        models: What was sampled, in words.
        key: What the result depends on; see `StudyContext.key`.
        figure: The picture.
    """

    study: str
    findings: tuple[Finding, ...]
    table: list[list[str]]
    seconds: float
    processor: float
    settings: str
    models: tuple[str, ...]
    key: str
    figure: Image.Image


SLIGHT = 0.5  # a Fréchet distance that nobody would mind: the first look at too few steps is tens


def settled(interval: tuple[float, float], low: float = -math.inf, high: float = math.inf) -> bool | None:
    """Whether a number lies in [low, high], by its interval: True where all of it does, False where none; None: nobody can say."""
    a, b = interval
    return True if low <= a and b <= high else False if b < low or a > high else None


def every(*verdicts: bool | None) -> bool | None:
    """The verdict on several things that must all hold: one that differs decides, then one that nobody can tell."""
    return False if False in verdicts else None if None in verdicts else True


def share(seen: float, n: int, low: float = 0.0, high: float = 1.0) -> Seen:
    """A share of n independent answers that should lie in [low, high]; settled by its 95 % interval (Wilson 1927)."""
    interval = wilson(seen, n)
    return f"{100 * seen:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})", settled(interval, low, high)


def interval(e: Estimate, errors: float = 2.0) -> tuple[float, float]:
    """An estimate and so many standard errors to either side."""
    return e.value - errors * e.standard_error, e.value + errors * e.standard_error


def within(e: Estimate, low: float = -math.inf, high: float = math.inf) -> bool | None:
    """Whether an estimate lies in [low, high], two standard errors to either side and all."""
    return settled(interval(e), low, high)


def below(own: Estimate, other: Estimate, paired: bool = True, margin: float = 0.0, errors: float = 2.0) -> bool | None:
    """Whether one figure is lower than another plus a margin, by two standard errors of the difference; None: nobody can say.

    Without a margin: True where it is surely lower, False where it is surely higher. With one: True where it is surely not higher
    by more than that. Paired estimates are of samples that share their noise, row by row.
    """
    gap = own.value - other.value
    error = errors * (own.minus(other).standard_error if paired else own.apart(other))
    if not margin and not abs(gap) > error:  # equal figures without any error, as of blank pictures, are not lower either
        return None
    return settled((gap - error, gap + error), high=margin)


def like_digits(precision: Estimate, floor: Estimate) -> bool | None:
    """Whether samples are digits at all: at least half as many lie among the data as held-out digits do.

    What is said of good samples, such as that they are no worse than others, is not to hold of two kinds of bad ones.
    """
    return below(floor.times(0.5), precision, paired=False)


def plus_minus(e: Estimate, digits: int = 2) -> str:
    """`0.21 ± 0.03`, one standard error."""
    return f"{e.value:.{digits}f} ± {e.standard_error:.{digits}f}"
