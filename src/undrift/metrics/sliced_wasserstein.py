"""The sliced Wasserstein distance: how far projections of samples on lines are from those of the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from undrift.data.stream import stream
from undrift.metrics.estimate import Estimate, checked, jackknife
from undrift.metrics.metric import Measure, Metric, Space


class SlicedWasserstein:
    """`sqrt(mean over directions of W_2^2)` of projections on lines (Bonneel et al. 2015), the same directions for all samples.

    W_2^2 on a line is the mean squared gap of quantiles, here exactly that of the two sets, whatever their sizes. Its bias is
    left in: it is positive for equal laws too, falling as 1/sqrt(n), and so to be read beside the metric of as many real
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


def _against(space: Space) -> Measure:
    distance = SlicedWasserstein(space.train.rows)
    return Measure(lambda points: distance(points.rows))


METRIC = Metric(
    "sliced",
    "sliced Wasserstein distance",
    "lower",
    "any difference that shows in projections on lines",
    "values",
    _against,
    0.0,
)
