"""The difference of correlations: do pairs of columns hang together as in the data?"""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.metrics.estimate import Estimate, checked, jackknife
from undrift.metrics.metric import Measure, Metric, Space, Unmeasurable


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


def _against(space: Space) -> Measure:
    if space.size < 2:
        raise Unmeasurable("one column only")
    difference = Correlations(space.train.rows)
    return Measure(lambda points: difference(points.rows))


METRIC = Metric(
    "correlation", "difference of correlations", "lower", "linear dependence of pairs of columns", "values", _against, 0.0
)
