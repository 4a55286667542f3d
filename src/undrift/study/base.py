"""What a study is: one experiment of a paper, measured, and each of its claims judged by a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from undrift.metrics.estimate import Estimate
from undrift.metrics.interval import wilson
from undrift.study.context import StudyContext

Measured = dict[str, Any]  # whatever a study measured, by name
Seen = tuple[str, bool | None]  # what we get, in words, and whether that is what the paper says; None: within the error bars


@dataclass(frozen=True)
class Claim:
    """One claim of a paper, with the measurement that would confirm it.

    Attributes:
        says: The claim, short.
        where: Its place in the paper.
        wanted: What we would have to see: the tolerance, in words.
        seen: Of what was measured: what we get, and whether it is what was wanted.
        why: Why we differ, as far as we know; shown where we do.
    """

    says: str
    where: str
    wanted: str
    seen: Callable[[Measured], Seen]
    why: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim with what we measured. `verdict` is "holds", "within error" or "differs"."""

    says: str
    where: str
    wanted: str
    ours: str
    verdict: str
    why: str = ""


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
            found.append(Finding(claim.says, claim.where, claim.wanted, ours, VERDICTS[holds], "" if holds else claim.why))
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


def share(seen: float, n: int, low: float = 0.0, high: float = 1.0) -> Seen:
    """A share of n independent answers that should lie in [low, high]; within error where its 95 % interval reaches there."""
    a, b = wilson(seen, n)
    text = f"{100 * seen:.1f} % ({100 * a:.1f} to {100 * b:.1f})"
    return text, True if low <= seen <= high else None if a <= high and b >= low else False


def below(own: Estimate, other: Estimate, paired: bool = True) -> bool | None:
    """Whether one figure is the lower, by more than two standard errors of the difference; None: nobody can say.

    Paired estimates are of samples that share their noise, row by row.
    """
    gap = own.value - other.value
    error = own.minus(other).standard_error if paired else own.apart(other)
    return None if not abs(gap) > 2 * error else gap < 0


def plus_minus(e: Estimate, digits: int = 2) -> str:
    """`0.21 ± 0.03`, one standard error."""
    return f"{e.value:.{digits}f} ± {e.standard_error:.{digits}f}"
