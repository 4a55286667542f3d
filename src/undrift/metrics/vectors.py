"""Figures of vectors and tables: sliced Wasserstein distance, columns one by one and in pairs, a classifier that tries to tell."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import ks_2samp
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from undrift.data.stream import stream
from undrift.metrics.distance import Estimate, checked, jackknife, jackknives, mean
from undrift.metrics.interval import student, wilson


class SlicedWasserstein:
    """`sqrt(mean over directions of W_2^2)` of projections on lines (Bonneel et al. 2015), the same directions for all samples.

    W_2^2 on a line is the mean squared gap of quantiles, here exactly that of the two sets, whatever their sizes. Its bias is
    left in: it is positive for equal laws too, falling as 1/sqrt(n), and so to be read beside the figure of as many real
    examples.

    Args:
        reference: `(M, *D)`.
        directions: How many lines.
    """

    def __init__(self, reference: Tensor, directions: int = 100, seed: int = 0) -> None:
        y = checked(reference)
        draws = torch.from_numpy(stream(seed, "directions").standard_normal((y.shape[1], directions)))
        self.directions, self.width = draws / draws.norm(dim=0), y[0]
        self.along = (y @ self.directions).sort(0).values

    def __call__(self, x: Tensor) -> Estimate:
        """The distance of samples `(n, *D)`, n of at least 20."""
        along = checked(x, self.width) @ self.directions
        return jackknife(lambda kept: math.sqrt(float(on_a_line(along[kept].sort(0).values, self.along).mean())), len(along))


def on_a_line(x: Tensor, y: Tensor) -> Tensor:
    """`W_2^2` of the columns of two sets, `(n, L)` and `(m, L)` in order: the integral over u of `(F^-1(u) - G^-1(u))^2`, `(L,)`.

    Both quantile functions are steps, at multiples of 1/n and of 1/m: in units of 1/nm whole numbers.
    """
    n, m = len(x), len(y)
    steps = torch.unique(torch.cat([m * torch.arange(n + 1), n * torch.arange(1, m)]))
    at, width = steps[:-1], steps.diff().double() / (n * m)
    return width @ (x[at // m] - y[at // n]).square()


class Correlations:
    """Root mean square, over pairs of columns, of the difference of their correlations; columns that do not vary count as 0.

    Args:
        reference: `(M, *D)`, of at least two columns.
    """

    def __init__(self, reference: Tensor) -> None:
        self.reference = _correlations(checked(reference))

    def __call__(self, x: Tensor) -> Estimate:
        """The difference for samples `(n, *D)`, n of at least 20."""
        x = checked(x)
        pairs = tuple(torch.triu_indices(len(self.reference), len(self.reference), 1))
        return jackknife(lambda kept: float((_correlations(x[kept]) - self.reference)[pairs].square().mean().sqrt()), len(x))


def _correlations(x: Tensor) -> Tensor:
    gap = x - x.mean(0)
    unit = gap / gap.norm(dim=0).clamp(min=1e-12)
    return unit.T @ unit


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


def told_apart(x: Tensor, reference: Tensor, seed: int = 0) -> tuple[Estimate, int]:
    """Classifier two-sample test: the share that a forest, trained on half of both, tells right of the other half.

    1/2 for equal laws. Every second row is for training; the first rows of the longer set are used, so that both are as many.

    Args:
        x, reference: `(n, *D)` and `(M, *D)`, at least 40 rows each, in no particular order.

    Returns:
        The share, with replicates by groups of rows of `x`; and the number of examples that it is of.

    Source: Lopez-Paz & Oquab 2017, sec. 3.
    """
    n = min(len(x), len(reference))
    sets = [checked(s)[:n] for s in (x, reference)]
    known, unknown = (torch.cat([s[start::2] for s in sets]).numpy() for start in (0, 1))
    half = [len(range(start, n, 2)) for start in (0, 1)]
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forest.fit(known, np.repeat([0, 1], half[0]))
        right = forest.predict(unknown) == np.repeat([0, 1], half[1])
    both = torch.from_numpy(right).double().reshape(2, -1).mean(0)  # row i of each
    return mean(both), 2 * half[1]
