"""Kernels, as distances for `Energy`, which is the squared maximum mean discrepancy then, unbiased and with replicates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from undrift.data.stream import stream


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
