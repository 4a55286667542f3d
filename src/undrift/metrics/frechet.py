"""The Frechet distance without the bias of few samples, and where it can be known.

The distance between the moments of two samples is far above that of their laws: of n samples in d dimensions, of one law, by
about `d^2/4n` in units of the variance. The bias depends on the law, being smaller for one that varies less (Chong & Forsyth
2020), so that equal numbers of samples do not make it fair. An expansion in 1/n, cut off after its first term, is far off below n
of several d.

Random matrix theory takes out the bias at any fixed ratio d/n below one (`trace_root`), exactly so where d is large and samples
are Gaussian, or linear images of independent numbers. What is left, of order 1/n, and what classes, ReLUs and heavy tails do
besides, is found by the jackknife over groups of samples and of the reference.

From fewer samples than dimensions no such estimate is known, so `Frechet` gives none: it asks for one and a half times as many
samples, and as many examples of the reference, as there are dimensions in which the reference varies. docs/evaluate.md shows what
comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from undrift.metrics.estimate import LEAST, Estimate, checked, groups
from undrift.metrics.metric import Measure, Metric, Space, Unmeasurable

ROOM = 1.5  # times as many samples as dimensions
ROOM_LEFT = 1.35  # and without any one group, of which there are few where samples are few
ROUNDING = 1e-12  # of the largest eigenvalue: below it is nothing but rounding


class Frechet:
    """The Frechet distance: 2-Wasserstein, squared, between Gaussians with the moments of two laws, from samples of both.

        |m - m'|^2 + tr C + tr C' - 2 tr (C^1/2 C' C^1/2)^1/2

    Calling it gives an estimate without bias, whose error bar holds the error of the reference too; `plain` is the distance of
    the samples' own moments. In the features of an Inception network that is the FID (Heusel et al. 2017, eq. 6); metrics of
    different features are not comparable. Source: Dowson & Landau 1982.

    Args:
        reference: `(M, d)`, at least 2 rows.
        strata: `(M,)` the classes of the reference, where it was drawn class by class.

    Attributes:
        rank: In how many dimensions the reference varies.
        least: How many samples an estimate takes, at the least.
    """

    def __init__(self, reference: Tensor, strata: Tensor | None = None) -> None:
        y = checked(reference)
        self.mean, self.strata = y.mean(0), strata
        self.rows = y - self.mean
        self.root = _root(self.rows)
        self.rank = self.root.shape[1]
        self.least = next(n for n in range(max(LEAST, math.ceil(ROOM * self.rank)), 2**62) if _rest(n) >= ROOM_LEFT * self.rank)

    def refusal(self, n: int) -> str | None:
        """Why there is no estimate from `n` samples, in words; None where there is one."""
        known = len(self.rows)
        for count, what in ((known, "examples of the reference"), (n, "samples")):
            if count < self.least:
                return f"{count:,} {what} are too few for {self.rank:,} dimensions; {self.least:,} are the least"
        return None

    def __call__(self, x: Tensor, strata: Tensor | None = None) -> Estimate:
        """The distance of samples `(n, d)`; `strata` are their classes, where they were drawn class by class.

        Raises:
            ValueError: n, or the number of examples of the reference, is below `least`.
        """
        x = checked(x, self.mean)
        if (why := self.refusal(len(x))) is not None:
            raise ValueError(f"no Frechet distance: {why}.")
        rows = x - x.mean(0)
        gap = x.mean(0) - self.mean
        groups = [_rows_of_groups(n, classes) for n, classes in ((len(x), strata), (len(self.rows), self.strata))]
        mine, known = _moments(rows, groups[0]), _moments(self.rows, groups[1])
        own = zip(mine, _spectra(rows @ self.root, groups[0]), strict=True)
        other = zip(known, _spectra(self.rows @ _root(rows), groups[1]), strict=True)
        whole, *without = [_between(gap + part.shift, part, known[0], values) for part, values in own]
        _, *rest = [_between(gap - part.shift, mine[0], part, values) for part, values in other]
        found = Estimate(whole, tuple(without), tuple(rest))
        return replace(found, value=whole + found.drift())

    def plain(self, x: Tensor) -> float:
        """The distance of the moments of `(n, d)` samples as they are, n of at least 2: too high, the more so the smaller n is.

        Published FIDs are this, mostly of 50,000 samples. Works with fewer samples than dimensions.
        """
        x = checked(x, self.mean)
        n, rows = len(x), x - x.mean(0)
        along = rows @ self.root
        side = along @ along.T if n < self.rank else along.T @ along  # the same spectrum on the smaller side
        shared = torch.linalg.eigvalsh(side / (n - 1)).clamp(min=0).sqrt().sum()
        traces = rows.square().sum() / (n - 1) + self.rows.square().sum() / (len(self.rows) - 1)
        return float((x.mean(0) - self.mean).square().sum() + traces - 2 * shared)


def trace_root(values: Tensor, n: float, m: float, step: float = 0.5) -> float:
    """The trace of `(C C')^1/2` of two laws, from the eigenvalues of the product of their sample covariances.

    With `phi(y) = sum lam/(lam + y)` over the eigenvalues lam of a product, the trace of its root is

        2/pi int sqrt(y) (-phi'(y)) dy

    Sampling multiplies the product of the laws, freely, by two matrices of Marchenko & Pastur's law. By the S-transform
    (Voiculescu 1987) the phi of the laws then has at `y / ((1 - phi/n) (1 - phi/m))` the value phi that the phi of the samples
    has at y. In their integral put that for the y under the root, and it is that of the laws. As a sum over equal steps of log y
    it converges exponentially.

    Args:
        values: `(p,)` eigenvalues, those that are above zero by no more than rounding left out.
        n, m: Degrees of freedom of the two covariances, samples less one; more than p.
        step: Of log y.

    Source: Tiomoko & Couillet 2019, f(t) = sqrt t, there a contour integral.
    """
    values = values[values > ROUNDING * values.max()] if len(values) else values
    if not len(values):
        return 0.0
    low, high = float(values.min().log()) - 20, float(values.max().log()) + 50
    y = torch.arange(low, high, step, dtype=torch.float64).exp()
    shares = values / (values + y[:, None])
    phi, slope = shares.sum(1), (shares / (values + y[:, None])).sum(1)
    return float(2 / math.pi * step * (y**1.5 * slope / ((1 - phi / n) * (1 - phi / m)).sqrt()).sum())


@dataclass(frozen=True)
class _Moments:
    """Of some rows: how many, how far their mean is from that of all, the trace of their covariance."""

    n: int
    shift: Tensor
    trace: float


def _moments(rows: Tensor, groups: list[Tensor]) -> list[_Moments]:
    """Of all of the centred rows, then of all but each group."""
    squares = rows.square().sum(1)
    found = [_Moments(len(rows), torch.zeros_like(rows[0]), float(squares.sum()) / (len(rows) - 1))]
    for group in groups:
        n = len(rows) - len(group)
        shift = -rows[group].sum(0) / n
        found.append(_Moments(n, shift, float(squares.sum() - squares[group].sum() - n * shift.square().sum()) / (n - 1)))
    return found


def _spectra(along: Tensor, groups: list[Tensor]) -> Iterator[Tensor]:
    """Eigenvalues of the covariance of all of the centred rows, then of all but each group."""
    whole = along.T @ along
    yield torch.linalg.eigvalsh(whole / (len(along) - 1)).clamp(min=0)
    for group in groups:
        part = along[group]
        n, total = len(along) - len(part), part.sum(0)
        yield torch.linalg.eigvalsh((whole - part.T @ part - total[:, None] * total / n) / (n - 1)).clamp(min=0)


def _between(gap: Tensor, a: _Moments, b: _Moments, values: Tensor) -> float:
    """The distance of two laws from the moments of samples, and from the eigenvalues of the product of their covariances."""
    shift = float(gap.square().sum()) - a.trace / a.n - b.trace / b.n
    return shift + a.trace + b.trace - 2 * trace_root(values, a.n - 1, b.n - 1)


def _rows_of_groups(n: int, strata: Tensor | None) -> list[Tensor]:
    """The row numbers of each group."""
    group = groups(n, strata)
    return [torch.nonzero(group == g).flatten() for g in range(int(group.max()) + 1)]


def _rest(n: int) -> int:
    """How many of n samples are left without the largest group."""
    return n - int(groups(n).bincount().max())


def _root(rows: Tensor) -> Tensor:
    """`(d, p)`: R with `R R^T` the covariance of centred rows, p its rank up to rounding."""
    unit = rows / math.sqrt(len(rows) - 1)
    few = len(rows) < rows.shape[1]  # the same spectrum on the smaller side
    values, vectors = torch.linalg.eigh(unit @ unit.T if few else unit.T @ unit)
    kept = values > ROUNDING * values.max()
    return unit.T @ vectors[:, kept] if few else vectors[:, kept] * values[kept].sqrt()


def _against(space: Space) -> Measure:
    frechet = Frechet(space.train.rows, space.train.strata)
    if (why := frechet.refusal(space.samples)) is not None:
        raise Unmeasurable(why, "; read the kernel distance")
    return Measure(lambda p: None if len(p.rows) < frechet.least else frechet(p.rows, p.strata), frechet.least)


METRIC = Metric(
    "frechet",
    "Fréchet distance",
    "lower",
    "mean and covariance of the features; nothing beyond them. Takes 1.5 samples for each feature",
    "features",
    _against,
)
