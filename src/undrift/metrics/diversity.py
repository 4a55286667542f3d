"""Diversity: do samples of one class differ from one another as much as data do?"""

from __future__ import annotations

from torch import Tensor

from undrift.metrics.estimate import Estimate, jackknife
from undrift.metrics.metric import Measure, Metric, Points, Space, Unmeasurable


class Spread:
    """Diversity: the mean squared distance of two samples of one class, over that of two training examples of it; 1 is as diverse.

    Classes count by their numbers of samples; those of fewer than two samples are left out.

    Args:
        reference: `(M, d)` features.
        labels: `(M,)` their classes.
    """

    def __init__(self, reference: Tensor, labels: Tensor) -> None:
        self.variances = {k: float(_variance(reference[labels == k])) for k in set(labels.tolist()) if (labels == k).sum() > 1}

    def __call__(self, x: Tensor, labels: Tensor) -> Estimate:
        """The ratio for features `(n, d)` of samples of classes `(n,)`, n of at least 20."""

        def ratio(kept: Tensor) -> float:
            mine, theirs = 0.0, 0.0
            for k, variance in self.variances.items():
                rows = kept[labels[kept] == k]
                if len(rows) > 1:
                    mine, theirs = mine + len(rows) * float(_variance(x[rows])), theirs + len(rows) * variance
            return mine / theirs if theirs else float("nan")

        return jackknife(ratio, len(x))


def _variance(x: Tensor) -> Tensor:
    """Trace of the unbiased covariance: half the mean squared distance of two rows."""
    return x.double().var(0).sum()


def _against(space: Space) -> Measure:
    if space.train.labels is None:
        raise Unmeasurable("the data have no classes")
    spread = Spread(space.train.rows, space.train.labels)
    if not any(spread.variances.values()):
        raise Unmeasurable("the training examples of a class are all alike")

    def of(points: Points) -> Estimate | None:
        return None if points.labels is None else spread(points.rows, points.labels)

    return Measure(of)


METRIC = Metric(
    "diversity",
    "diversity within classes",
    "higher",
    "do samples of one class differ as data do? 1 is as much",
    "features",
    _against,
    0.0,
)
