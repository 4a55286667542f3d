"""A figure beside its floor, and shares of yes and no."""

from __future__ import annotations

import math
from dataclasses import dataclass

from undrift.evaluate.distance import Estimate
from undrift.evaluate.interval import student, wilson
from undrift.evaluate.kinds import Kind

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
        return (low, high) if math.isnan(low) else (max(low, self.kind.least), min(high, self.kind.most))

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
class Share:
    """How many of `n` independent answers were yes; halves where both are as near."""

    yes: float
    n: int

    @property
    def value(self) -> float:
        """As a share."""
        return self.yes / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of 95 %."""
        return wilson(self.value, self.n)


@dataclass(frozen=True)
class Recognised:
    """Samples that the judge sees as the class asked for, all and by class; `floor` are the held-out examples it sees right."""

    all: Share
    by_class: dict[str, Share]
    floor: Share
