"""The energy distance: how far are samples from the law of the reference, in any number of dimensions?

It is without bias in the numbers of samples and of examples of the reference. So distances of different numbers are comparable, real
data are near zero, and an estimate may lie a little below zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from undrift.metrics.estimate import LEAST, Estimate, checked, groups, members
from undrift.metrics.metric import PAIRS, Measure, Metric, Space


class Energy:
    """The energy distance `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, zero only for equal laws (Szekely & Rizzo 2013, eq. 5).

    Without bias: pairs of a sample with itself are left out. Costs n M + n^2 distances, in blocks.

    Args:
        reference: `(M, *D)`, at least 2 rows; of fewer than 20 it counts as given.
        strata: `(M,)` the classes of the reference, where it was drawn class by class.
        far: `(a, d)` and `(b, d)` rows to their distances `(a, b)`; zero of a row to itself. Of a kernel k,
            `k(x, x)/2 + k(y, y)/2 - k(x, y)`, which makes this the squared MMD of k, unbiased (Sejdinovic et al. 2013, Theorem 22).
    """

    def __init__(
        self, reference: Tensor, far: Callable[[Tensor, Tensor], Tensor] = torch.cdist, strata: Tensor | None = None
    ) -> None:
        self.reference, self.far, self.strata = checked(reference), far, strata
        m = len(self.reference)
        self.known = members(groups(m, strata) if m >= LEAST else torch.zeros(m, dtype=torch.int64))
        self.within = self.known.T @ _distances(far, self.reference, self.reference, self.known)  # (H, H)

    def __call__(self, x: Tensor, strata: Tensor | None = None) -> Estimate:
        """The distance of samples `(n, *D)`, n of at least 20; `strata` are their classes, where drawn class by class."""
        x = checked(x, self.reference[0])
        ones = members(groups(len(x), strata))
        across = ones.T @ _distances(self.far, x, self.reference, self.known)  # (G, H)
        pairs = ones.T @ _distances(self.far, x, x, ones)  # (G, G)
        n, m = ones.sum(0), self.known.sum(0)

        def distance(n: Tensor, m: Tensor, across: Tensor, pairs: Tensor, within: Tensor) -> Tensor:
            return 2 * across / (n * m) - pairs / (n * (n - 1)) - within / (m * (m - 1))

        own, known = n.sum(), m.sum()
        whole = distance(own, known, across.sum(), pairs.sum(), self.within.sum())
        rest = distance(own - n, known, across.sum() - across.sum(1), _without(pairs), self.within.sum())
        other = distance(own, known - m, across.sum() - across.sum(0), pairs.sum(), _without(self.within))
        found = Estimate(float(whole), tuple(rest.tolist()), tuple(other.tolist()) if len(m) > 1 else ())
        return replace(found, value=found.value + found.drift(strata is not None, self.strata is not None))


def _without(pairs: Tensor) -> Tensor:
    """The sum over all pairs of rows without those of each group, of the sums over pairs of groups `(G, G)`."""
    return pairs.sum() - 2 * pairs.sum(1) + pairs.diagonal()


def _distances(metric: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, weights: Tensor, block: int = 2**22) -> Tensor:
    """For each row of x the sum of its distances to the rows of y, by the columns of `weights`: `(n, G)`."""
    rows = max(1, block // len(y))
    return torch.cat([metric(part, y) @ weights for part in torch.split(x, rows)])


def _against(space: Space) -> Measure:
    distance = Energy(space.train.rows[:PAIRS], strata=space.train.first(PAIRS).strata)
    return Measure(lambda points: distance(points.rows, points.strata))


METRIC = Metric(
    "energy", "energy distance", "lower", "any difference of laws; in many columns chiefly that of means", "values", _against
)
