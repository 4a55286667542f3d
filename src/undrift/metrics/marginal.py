"""Columns one by one: the largest gap between the distribution functions of samples and data (Kolmogorov & Smirnov)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from undrift.metrics.estimate import Estimate, checked, jackknives
from undrift.metrics.interval import student, wilson
from undrift.metrics.metric import Measure, Metric, Space


@dataclass(frozen=True)
class Column:
    """One column: the largest gap between its distribution functions, its chance for equal laws, and of how many samples."""

    number: int
    gap: Estimate
    p: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, of the gap: at the least as wide as that of a share, which a gap is."""
        (low, high), (least, most) = student(self.gap), wilson(self.gap.value, self.n)
        return max(0.0, min(low, least)), min(1.0, max(high, most))


def columns(x: Tensor, reference: Tensor) -> list[Column]:
    """Kolmogorov-Smirnov for each column, the largest gap first; p by Holm 1979, so that one p below 0.05 in 20 tables is chance.

    Args:
        x: `(n, *D)`, n of at least 20.
        reference: `(M, *D)`.
    """
    from scipy.stats import ks_2samp

    gaps, a, b = _gaps(x, reference), checked(x).numpy(), checked(reference).numpy()
    chances = [float(ks_2samp(a[:, j], b[:, j]).pvalue) for j in range(a.shape[1])]
    order, p, worst = np.argsort(chances), np.empty(len(chances)), 0.0
    for rank, j in enumerate(order):
        worst = max(worst, min(1.0, chances[j] * (len(chances) - rank)))
        p[j] = worst
    return sorted((Column(j, g, float(p[j]), len(a)) for j, g in enumerate(gaps)), key=lambda c: -c.gap.value)


def widest_gap(x: Tensor, reference: Tensor) -> Estimate:
    """The largest Kolmogorov-Smirnov gap over columns, n of at least 20."""
    gaps = _gaps(x, reference)
    return Estimate(max(g.value for g in gaps), tuple(map(max, zip(*(g.replicates for g in gaps), strict=True))))


def _gaps(x: Tensor, reference: Tensor) -> list[Estimate]:
    """The largest gap between the distribution functions of each column."""
    a, b = checked(x), checked(reference).sort(0).values.T.contiguous()

    def gaps(kept: Tensor) -> list[float]:
        y = a[kept].sort(0).values.T.contiguous()
        both = torch.cat([y, b], 1)
        share = [torch.searchsorted(part, both, right=True).double() / part.shape[1] for part in (y, b)]
        found: list[float] = (share[0] - share[1]).abs().max(1).values.tolist()
        return found

    return jackknives(gaps, len(a))


def _against(space: Space) -> Measure:
    known = space.train.rows
    return Measure(lambda points: widest_gap(points.rows, known))


METRIC = Metric(
    "marginal",
    "widest gap of a column (Kolmogorov-Smirnov)",
    "lower",
    "each column alone; nothing of how they hang together",
    "values",
    _against,
    0.0,
    answers=lambda samples: samples,
)
