"""An estimate with its error bar, which can be paired with that of another estimate.

Error bars are by the jackknife that leaves out one group of samples at a time (Quenouille 1956; Efron 1982, ch. 3). An estimate keeps
what it was without each group, so the difference of two settings whose samples share their noise, row by row, has an error bar of
its own: what the noise does to both cancels. The reference has an error of its own, which the same jackknife finds by leaving out
one group of the reference at a time (Arvesen 1969, for two sets). It is common to everything measured against one reference, and
mostly cancels in differences.

All this is for independent draws. A set that was drawn class by class varies less: the shares of its classes do not vary at all.
Taken for independent draws, its distance would come out too low, below zero for equal laws, by more than its error bar. Where the
classes of a set are given as `strata`, its groups are dealt out class by class too, and the jackknife takes out the bias that is
left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from undrift.argument import rows64, tensor

GROUPS = 20
LEAST = 20  # samples, below which there are no error bars


@dataclass(frozen=True)
class Estimate:
    """A number measured on samples.

    Attributes:
        value: The estimate.
        replicates: What it is without each of the groups of samples, in the order of the samples.
        reference: What it is without each of the groups of the reference; empty where the reference counts as given.
    """

    value: float
    replicates: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()

    @property
    def standard_error(self) -> float:
        """`sqrt((G - 1)/G sum (r_g - mean r)^2)`, and the reference's in quadrature; NaN of fewer than two groups of samples."""
        return math.hypot(_spread(self.replicates), _spread(self.reference) if self.reference else 0.0)

    def minus(self, other: Estimate) -> Estimate:
        """The paired difference: of two estimates whose groups, one by one, share their noise, against one reference.

        Raises:
            ValueError: they have different numbers of groups.
        """
        return Estimate(
            self.value - other.value, _less(self.replicates, other.replicates), _less(self.reference, other.reference)
        )

    def apart(self, other: Estimate) -> float:
        """The standard error of the difference to an estimate of other, independent samples against the same reference.

        Raises:
            ValueError: they have different numbers of groups of the reference.
        """
        shared = _spread(_less(self.reference, other.reference)) if self.reference else 0.0
        return math.hypot(_spread(self.replicates), _spread(other.replicates), shared)

    def drift(self, own: bool = True, other: bool = True) -> float:
        """What the jackknife adds to a value that is all of its samples', to take out a bias of order 1/n, and of order 1/M."""
        parts = [part for part, wanted in ((self.replicates, own), (self.reference, other)) if wanted and part]
        return math.fsum((len(part) - 1) * (self.value - math.fsum(part) / len(part)) for part in parts)

    def times(self, factor: float) -> Estimate:
        """The estimate in another unit."""
        scaled = (tuple(factor * r for r in part) for part in (self.replicates, self.reference))
        return Estimate(factor * self.value, *scaled)


def _spread(replicates: tuple[float, ...]) -> float:
    """The jackknife's standard error; NaN of fewer than two replicates."""
    count = len(replicates)
    if count < 2:
        return math.nan
    mean = math.fsum(replicates) / count
    return math.sqrt((count - 1) / count * math.fsum((r - mean) ** 2 for r in replicates))


def _less(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))


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
    without = [statistics(torch.nonzero(group != g).flatten()) for g in range(int(group.max()) + 1)]
    return [Estimate(value, rest) for value, rest in zip(statistics(torch.arange(n)), zip(*without, strict=True), strict=True)]


def mean(values: Tensor) -> Estimate:
    """The mean of `(n,)` values, one for each sample, n of at least 20."""
    v = rows64(values, "values")
    ones = members(groups(len(v)))
    without = (v.sum() - ones.T @ v) / (len(v) - ones.sum(0))
    return Estimate(float(v.mean()), tuple(without.tolist()))


def members(group: Tensor) -> Tensor:
    """`(n, G)` of zeros and ones: which group each of `(n,)` rows is in."""
    return torch.nn.functional.one_hot(group).double()


def groups(n: int, strata: Tensor | None = None) -> Tensor:
    """`(n,)` the group of each sample, 20 or, of fewer than 200 samples, one for every ten: blocks of neighbours.

    Args:
        n: How many samples.
        strata: `(n,)` the class of each where they were drawn class by class: each class is dealt out over the groups in turn.

    Raises:
        ValueError: fewer than 20 samples.
    """
    if strata is not None:
        strata = tensor(strata, "strata")
        if strata.shape != (n,):
            raise ValueError(f"`strata` has shape {tuple(strata.shape)} for {n} samples: give the class of each.")
    if n < LEAST:
        raise ValueError(f"{n} samples are too few for an error bar; give at least {LEAST}.")
    count = min(GROUPS, n // 10)
    if strata is None:
        return torch.arange(n) * count // n
    return torch.empty(n, dtype=torch.int64).index_copy_(0, strata.argsort(stable=True), torch.arange(n) % count)


def checked(x: Tensor, like: Tensor | None = None) -> Tensor:
    """Samples, a tensor, an array or a list, as checked float64 rows. Raises ValueError."""
    x = rows64(x, "samples")
    rows = x.flatten(1) if x.ndim > 1 else x.reshape(-1, 1)
    if not x.ndim or len(rows) < 2 or (like is not None and rows.shape[1] != len(like)):
        wanted = "at least two rows" if like is None else f"at least two rows of {len(like)} numbers"
        raise ValueError(f"a distance needs {wanted}, got shape {tuple(x.shape)}.")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("a distance needs finite numbers; some are not.")
    return rows
