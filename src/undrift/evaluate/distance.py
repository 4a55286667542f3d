"""How far are samples from a law? Distances to a set of real examples, with error bars that can be paired.

Error bars are by the jackknife that leaves out one group of samples at a time (Quenouille 1956; Efron 1982, ch. 3). A distance keeps
what it was without each group, so the difference of two settings whose samples share their noise, row by row, has an error bar of
its own: what the noise does to both cancels.

The same replicates take out the bias of order 1/n, so that distances of different numbers of samples are comparable and real data
are near zero. An estimate may therefore lie a little below zero. The reference counts as given: its own sampling error is common to
everything measured against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

GROUPS = 20


@dataclass(frozen=True)
class Estimate:
    """A number measured on samples.

    Attributes:
        value: The estimate.
        replicates: What it is without each of the groups of samples, in the order of the samples.
    """

    value: float
    replicates: tuple[float, ...] = ()

    @property
    def standard_error(self) -> float:
        """`sqrt((G - 1)/G sum (r_g - mean r)^2)`; NaN of fewer than two groups."""
        count = len(self.replicates)
        if count < 2:
            return math.nan
        mean = math.fsum(self.replicates) / count
        return math.sqrt((count - 1) / count * math.fsum((r - mean) ** 2 for r in self.replicates))

    def minus(self, other: Estimate) -> Estimate:
        """The paired difference: of two estimates whose groups, one by one, share their noise.

        Raises:
            ValueError: they have different numbers of groups.
        """
        pairs = zip(self.replicates, other.replicates, strict=True)
        return Estimate(self.value - other.value, tuple(a - b for a, b in pairs))


def jackknife(statistic: Callable[[Tensor], float], n: int) -> Estimate:
    """Any statistic of samples with its replicates, its bias left in: what it is *at this sample size*.

    Args:
        statistic: Row numbers to a number.
        n: How many rows there are, at least 20.
    """
    return jackknives(lambda kept: [statistic(kept)], n)[0]


def jackknives(statistics: Callable[[Tensor], list[float]], n: int) -> list[Estimate]:
    """Several statistics that are found together; as `jackknife`."""
    group = groups(n)
    without = [statistics(torch.nonzero(group != g).flatten()) for g in range(int(group[-1]) + 1)]
    return [Estimate(value, rest) for value, rest in zip(statistics(torch.arange(n)), zip(*without, strict=True), strict=True)]


def mean(values: Tensor) -> Estimate:
    """The mean of `(n,)` values, one for each sample, n of at least 20."""
    v = values.detach().cpu().double()
    ones = torch.nn.functional.one_hot(groups(len(v))).double()
    without = (v.sum() - ones.T @ v) / (len(v) - ones.sum(0))
    return Estimate(float(v.mean()), tuple(without.tolist()))


def groups(n: int) -> Tensor:
    """`(n,)` the group of each sample: blocks of neighbours, 20 or, of fewer than 200 samples, one for every ten.

    Raises:
        ValueError: fewer than 20 samples.
    """
    if n < 20:
        raise ValueError(f"{n} samples are too few for an error bar; give at least 20.")
    return torch.arange(n) * min(GROUPS, n // 10) // n


class Frechet:
    """The Frechet distance: 2-Wasserstein, squared, between Gaussians with the moments of two sets.

        |m - m'|^2 + tr C + tr C' - 2 tr (C^1/2 C' C^1/2)^1/2

    Works with fewer samples than dimensions, C being singular then. In the features of an Inception network it is the FID (Heusel
    et al. 2017, eq. 6); figures of different features are not comparable. Source: Dowson & Landau 1982.

    Args:
        reference: `(M, d)`, at least 2 rows.
    """

    def __init__(self, reference: Tensor) -> None:
        y = checked(reference)
        self.mean = y.mean(0)
        gap = (y - self.mean) / math.sqrt(len(y) - 1)
        self.root, self.trace = gap.T, gap.square().sum()  # root root^T is the covariance
        if len(y) > y.shape[1]:
            values, vectors = torch.linalg.eigh(gap.T @ gap)
            self.root = vectors * values.clamp(min=0).sqrt()

    def __call__(self, x: Tensor) -> Estimate:
        """The distance of samples `(n, d)`, n of at least 20, with the 1/n part of its bias removed."""
        x = checked(x, self.mean)
        seen = x @ self.root
        plain = jackknife(lambda kept: self.between(x[kept], seen[kept]), len(x))
        count = len(plain.replicates)
        return Estimate(count * plain.value - (count - 1) / count * math.fsum(plain.replicates), plain.replicates)

    def between(self, x: Tensor, seen: Tensor) -> float:
        """The distance of the moments as they are, too high by order 1/n: of rows `x` `(n, d)`, and `seen = x @ root`.

        With R R^T = C' and centred rows X the shared part is `tr (R^T C R)^1/2`, the sum of the singular values of X R over
        `sqrt(n - 1)`: the spectrum is taken on the smaller side, of n or d.
        """
        n, shift = len(x), x.mean(0)
        along = seen - seen.mean(0)
        side = along @ along.T if n < along.shape[1] else along.T @ along
        shared = torch.linalg.eigvalsh(side / (n - 1)).clamp(min=0).sqrt().sum()
        trace = (x - shift).square().sum() / (n - 1)
        return float((shift - self.mean).square().sum() + trace + self.trace - 2 * shared)


class Energy:
    """The energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, zero only for equal laws (Szekely & Rizzo 2013, eq. 5).

    Without bias: pairs of a sample with itself are left out. Costs n M + n^2 distances, in blocks.

    Args:
        reference: `(M, *D)`, at least 2 rows.
        far: `(a, d)` and `(b, d)` rows to their distances `(a, b)`; zero of a row to itself. Of a kernel k,
            `k(x, x)/2 + k(y, y)/2 - k(x, y)`, which makes this the squared MMD of k, unbiased (Sejdinovic et al. 2013, Theorem 22).
    """

    def __init__(self, reference: Tensor, far: Callable[[Tensor, Tensor], Tensor] = torch.cdist) -> None:
        self.reference, self.far = checked(reference), far
        m = len(self.reference)
        self.within = float(_distances(far, self.reference, self.reference, None).sum()) / (m * (m - 1))

    def __call__(self, x: Tensor) -> Estimate:
        """The distance of samples `(n, *D)`, n of at least 20."""
        x = checked(x, self.reference[0])
        group = groups(len(x))
        ones = torch.nn.functional.one_hot(group).double()
        sizes = ones.sum(0)
        across = ones.T @ _distances(self.far, x, self.reference, None)  # (G,)
        pairs = ones.T @ _distances(self.far, x, x, ones)  # (G, G)

        def distance(n: Tensor, across: Tensor, pairs: Tensor) -> Tensor:
            return 2 * across / (n * len(self.reference)) - pairs / (n * (n - 1)) - self.within

        whole = distance(sizes.sum(), across.sum(), pairs.sum())
        left = pairs.sum() - 2 * pairs.sum(1) + pairs.diagonal()
        without = distance(sizes.sum() - sizes, across.sum() - across, left)
        return Estimate(float(whole), tuple(without.tolist()))


def _distances(
    metric: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, weights: Tensor | None, block: int = 2**22
) -> Tensor:
    """For each row of x the sum of its distances to all rows of y `(n,)`, or to those of each column of `weights` `(n, G)`."""
    rows = max(1, block // len(y))
    parts = []
    for part in torch.split(x, rows):
        far = metric(part, y)
        parts.append(far.sum(1) if weights is None else far @ weights)
    return torch.cat(parts)


def checked(x: Tensor, like: Tensor | None = None) -> Tensor:
    """Samples as checked float64 rows."""
    rows = x.detach().cpu().double().flatten(1) if x.ndim > 1 else x.detach().cpu().double()[:, None]
    if len(rows) < 2 or (like is not None and rows.shape[1] != len(like)):
        wanted = "at least two rows" if like is None else f"at least two rows of {len(like)} numbers"
        raise ValueError(f"a distance needs {wanted}, got shape {tuple(x.shape)}.")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("a distance needs finite numbers; some are not.")
    return rows
