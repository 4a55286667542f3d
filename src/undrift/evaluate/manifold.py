"""Precision, recall, density and coverage: are samples where data are, and are they everywhere that data are?

Balls around each point that reach to its k-th neighbour stand for the support of a law.

    precision   share of samples inside the ball of some real point                 (Kynkaanniemi et al. 2019, eq. 2)
    recall      share of real points inside the ball of some sample                 (the same, the other way)
    density     how many real balls hold a sample, over k: 1 for equal laws         (Naeem et al. 2020, eq. 4)
    coverage    share of real points whose ball holds a sample                      (eq. 5)

For equal laws none but density has 1 as its value: coverage is `1 - prod_{i<k} (M - 1 - i)/(n + M - 1 - i)` in any number of dimensions,
precision and recall depend on the law. So only the figures of as many held-out examples say what is good.
"""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.evaluate.distance import Estimate, checked, groups, mean

K = 5


class Manifold:
    """The four figures of samples against a reference.

    Args:
        reference: `(M, d)`, more than `k` rows.
        k: Which neighbour a ball reaches to.
    """

    def __init__(self, reference: Tensor, k: int = K) -> None:
        self.reference, self.k = checked(reference), k
        if len(self.reference) <= k:
            raise ValueError(f"{len(self.reference)} points have no neighbour number {k}; give more, or a smaller k.")
        self.radius = _reach(torch.cdist(self.reference, self.reference), k)

    def __call__(self, x: Tensor) -> dict[str, Estimate]:
        """Each figure by name, of samples `(n, d)`, n of at least 20. Costs n M + n^2 distances."""
        x = checked(x, self.reference[0])
        group, far, own = groups(len(x)), torch.cdist(x, self.reference), torch.cdist(x, x)
        inside = far <= self.radius  # (n, M)
        found = {"precision": mean(inside.any(1)), "density": mean(inside.sum(1) / self.k)}
        kept = [torch.ones(len(x), dtype=torch.bool), *(group != g for g in range(int(group[-1]) + 1))]
        reached = [float(inside[rows].any(0).double().mean()) for rows in kept]
        recalled = []
        for rows in kept:
            ball = _reach(own[rows][:, rows], self.k)
            recalled.append(float((far[rows] <= ball[:, None]).any(0).double().mean()))
        found["recall"], found["coverage"] = (Estimate(v[0], tuple(v[1:])) for v in (recalled, reached))
        return found


def _reach(distances: Tensor, k: int) -> Tensor:
    """`(n,)` distance of each point to its k-th neighbour other than itself, of distances `(n, n)`."""
    apart = distances.clone().fill_diagonal_(torch.inf)
    return apart.kthvalue(k, dim=1).values
