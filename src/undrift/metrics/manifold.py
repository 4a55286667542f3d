"""Precision, recall, density and coverage: are samples where data are, and are they everywhere that data are?

Balls around each point that reach to its k-th neighbour stand for the support of a law.

    precision   share of samples inside the ball of some real point                 (Kynkaanniemi et al. 2019, eq. 2)
    recall      share of real points inside the ball of some sample                 (the same, the other way)
    density     how many real balls hold a sample, over k: 1 for equal laws         (Naeem et al. 2020, eq. 4)
    coverage    share of real points whose ball holds a sample                      (eq. 5)

For equal laws none but density has 1 as its value: coverage is `1 - prod_{i<k} (M - 1 - i)/(n + M - 1 - i)` in any number of dimensions,
precision and recall depend on the law. So only the metrics of as many held-out examples say what is good.

Points that coincide, or lie equally far, are in order by chance (see `ties`): all this holds for whole numbers and copies too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from undrift.argument import whole
from undrift.metrics.estimate import Estimate, checked, groups, mean
from undrift.metrics.metric import Measure, Metric, Space
from undrift.metrics.ties import shaken, spread

K = 5


class Manifold:
    """The four metrics of samples against a reference.

    Args:
        reference: `(M, d)`, more than `k` rows.
        k: Which neighbour a ball reaches to.
        block: Distances held at once.
    """

    def __init__(self, reference: Tensor, k: int = K, block: int = 2**22) -> None:
        y, self.k, self.block = checked(reference), whole(k, "k", 1), whole(block, "block", 1)
        self.centre, self.unit = y.mean(0), spread(y)
        self.reference = shaken(y - self.centre, self.unit, "reference")
        if len(self.reference) <= k:
            raise ValueError(f"{len(self.reference)} points have no neighbour number {k}; give more, or a smaller k.")
        self.radius = torch.cat([_apart(self.reference, rows).kthvalue(k, 1).values for rows in self._blocks(self.reference)])

    def __call__(self, x: Tensor) -> dict[str, Estimate]:
        """Each metric by name, of samples `(n, d)`, n of at least 20. Costs n M + n^2 distances, in blocks."""
        x = shaken(checked(x, self.centre) - self.centre, self.unit, "samples")
        group = groups(len(x))
        count = int(group[-1]) + 1
        precise, held = torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.float64)
        visited, recalled, wider = torch.zeros(3, count, len(self.reference), dtype=torch.bool)
        for rows in self._blocks(x):
            mine, far = group[rows], torch.cdist(x[rows], self.reference)
            whole, *without = self._balls(x, rows, group)
            inside, over = far <= self.radius, far <= whole[:, None]
            precise[rows], held[rows] = inside.any(1), inside.sum(1).double() / self.k
            for g in sorted(set(mine.tolist())):  # by some sample of this group
                visited[g] |= inside[mine == g].any(0)
                recalled[g] |= over[mine == g].any(0)
            for g, ball in enumerate(without):  # by a ball that grows where this group is left out
                grown = (ball > whole) & (mine != g)
                wider[g] |= (far[grown] <= ball[grown, None]).any(0)
        found = {"precision": mean(precise), "density": mean(held)}
        for name, by, more in (("recall", recalled, wider), ("coverage", visited, torch.zeros_like(wider))):
            times = by.sum(0)
            left = (times > by.int()) | more
            found[name] = Estimate(float((times > 0).double().mean()), tuple(left.double().mean(1).tolist()))
        return found

    def _blocks(self, x: Tensor) -> list[slice]:
        size = max(1, self.block // max(len(x), len(self.reference)))
        return [slice(start, min(start + size, len(x))) for start in range(0, len(x), size)]

    def _balls(self, x: Tensor, rows: slice, group: Tensor) -> Iterator[Tensor]:
        """The reach of some rows of x: to their k-th neighbour of all, then of all but each group.

        The k nearest of each group are enough to know all of these.
        """
        apart = _apart(x, rows)
        parts = [
            part.topk(min(self.k, part.shape[1]), largest=False).values
            for part in torch.split(apart, group.bincount().tolist(), 1)
        ]
        near, whose = torch.cat(parts, 1), torch.cat([torch.full((p.shape[1],), g) for g, p in enumerate(parts)])
        for g in range(-1, len(parts)):
            yield near[:, whose != g].kthvalue(self.k, 1).values


def _apart(x: Tensor, rows: slice) -> Tensor:
    """`(b, n)` distances of some rows to all, infinite to themselves."""
    far = torch.cdist(x[rows], x)
    far[torch.arange(len(far)), torch.arange(rows.start, rows.stop)] = torch.inf
    return far


def _metric(key: str, sees: str, most: float = math.inf, independent: bool = False, share: bool = True) -> Metric:
    def against(space: Space) -> Measure:
        manifold = space.train.once("manifold", lambda: Manifold(space.train.rows[: space.samples]))
        return Measure(lambda points: points.once("manifold", lambda: manifold(points.rows))[key])

    answers = (lambda samples: samples) if share else (lambda samples: 0)
    return Metric(key, key, "higher", sees, "features", against, 0.0, most, answers, independent)


PRECISION = _metric("precision", "are samples where data are? nothing of what is missing", 1.0, True)
RECALL = _metric("recall", "are data where samples are? one outlier covers much", 1.0)
DENSITY = _metric("density", "as precision, but robust against real outliers; 1 for equal laws", share=False)
COVERAGE = _metric("coverage", "is every part of the data visited? nothing of bad samples", 1.0)
