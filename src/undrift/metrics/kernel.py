"""Kernels, as distances for `Energy`, which is the squared maximum mean discrepancy then, unbiased and with replicates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from undrift.data.stream import stream
from undrift.metrics.energy import Energy
from undrift.metrics.metric import PAIRS, Measure, Metric, Space


def cubic(x: Tensor, y: Tensor) -> Tensor:
    """Of `k(x, y) = (x . y / d + 1)^3`: KID in the features of a network (Binkowski et al. 2018, eq. 5). `(a, d)`, `(b, d)` to `(a, b)`.

    It compares the first three moments, and nothing else.
    """

    def k(dot: Tensor) -> Tensor:
        return (dot / x.shape[1] + 1) ** 3

    own_x, own_y = k(x.square().sum(1))[:, None], k(y.square().sum(1))
    return (own_x + own_y) / 2 - k(x @ y.T)


def bell(reference: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Of `k(x, y) = exp(-|x - y|^2 / 2 h^2)`, h the median distance within 1,000 rows of the reference (Gretton et al. 2012, sec. 8).

    Of rows that coincide, which have no scale, no distance counts.

    Args:
        reference: `(M, *D)`.
    """
    rows = torch.from_numpy(stream(0, "bandwidth").permutation(len(reference))[:1000].copy())
    far = torch.pdist(reference[rows].double().flatten(1))
    apart = far[far > 0]
    h = apart.median() if len(apart) else torch.ones((), dtype=torch.float64)
    return lambda x, y: 1 - torch.exp(-torch.cdist(x, y).square() / (2 * h * h))


def _cubic(space: Space) -> Measure:
    known = space.train.first(PAIRS)
    distance = Energy(known.rows, cubic, known.strata)
    return Measure(lambda points: distance(points.rows, points.strata).times(1000))  # in thousandths, as KID is printed


def _bell(space: Space) -> Measure:
    known = space.train.first(PAIRS)
    distance = Energy(known.rows, bell(known.rows), known.strata)
    return Measure(lambda points: distance(points.rows, points.strata).times(1000))


KID = Metric(
    "kernel",
    "kernel distance (KID) x 1000",
    "lower",
    "the first three moments of the features; fair to few samples",
    "features",
    _cubic,
)
MMD = Metric(
    "mmd", "MMD² x 1000, Gaussian kernel", "lower", "any difference at about the median distance of examples", "values", _bell
)
