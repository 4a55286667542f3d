"""A metric of samples beside that of as many held-out examples, the verdict on it, and shares of yes and no."""

from __future__ import annotations

import math
from dataclasses import dataclass

from undrift.metrics.estimate import Estimate
from undrift.metrics.interval import student, wilson
from undrift.metrics.metric import Metric

CHANCE = 0.0027  # of equal laws that anything is said of them, once in 370: three standard errors, more of few groups


@dataclass(frozen=True)
class MetricResult:
    """A metric of samples beside that of as many held-out examples.

    Attributes:
        metric: Which.
        own, floor: The estimates.
        of: Of how many answers it is a share; 0 where it is none.
    """

    metric: Metric
    own: Estimate
    floor: Estimate
    of: int = 0

    def interval(self, estimate: Estimate) -> tuple[float, float]:
        """95 %, of `own` or of `floor`."""
        low, high = student(estimate)
        if self.of:
            least, most = self._wilson(estimate)
            low, high = (least, most) if self.metric.independent else (min(low, least), max(high, most))
        return (low, high) if math.isnan(low) else (max(low, self.metric.least), min(high, self.metric.most))

    @property
    def verdict(self) -> str:
        """How the samples stand to held-out examples, in words."""
        from scipy.stats import t

        gap = self.own.value - self.floor.value
        error = math.hypot(*(self._error(e) for e in (self.own, self.floor))) if self.of else self.own.apart(self.floor)
        groups = len(self.own.replicates) + len(self.floor.replicates)
        sure = t.isf(CHANCE / 2, math.inf if self.metric.independent else max(1, groups - 2))
        if not abs(gap) > sure * error:  # also where there is no error bar
            return "as real data"
        return "worse than real data" if (gap > 0) == (self.metric.better == "lower") else "beyond real data"

    def _error(self, estimate: Estimate) -> float:
        """Of a share."""
        low, high = self._wilson(estimate)
        own = (high - low) / 3.92
        return own if self.metric.independent else max(estimate.standard_error, own)

    def _wilson(self, estimate: Estimate) -> tuple[float, float]:
        """The least that a share is uncertain: no group of samples may change it, and then the jackknife sees nothing."""
        return wilson(min(1.0, max(0.0, estimate.value)), self.of)


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
