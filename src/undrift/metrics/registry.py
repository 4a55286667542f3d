"""Every metric by its key: to add one, write its file and add its line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from undrift.metrics import (
    correlation,
    diversity,
    energy,
    frechet,
    inception_score,
    kernel,
    manifold,
    marginal,
    sliced_wasserstein,
    told_apart,
)
from undrift.metrics.metric import Kind, Metric


def _by_key(*metrics: Metric) -> dict[str, Metric]:
    return {metric.key: metric for metric in metrics}


METRICS = _by_key(
    frechet.METRIC,
    kernel.KID,
    inception_score.METRIC,
    manifold.PRECISION,
    manifold.RECALL,
    manifold.DENSITY,
    manifold.COVERAGE,
    diversity.METRIC,
    energy.METRIC,
    kernel.MMD,
    sliced_wasserstein.METRIC,
    marginal.METRIC,
    correlation.METRIC,
    told_apart.METRIC,
)


def _of_inception(metric: Metric, **changes: str) -> Metric:
    """A metric of features in those of the Inception network."""
    words = {"key": f"inception_{metric.key}", "name": f"{metric.name}, Inception", **changes}
    return replace(metric, of="inception", **words)  # type: ignore[arg-type]


METRICS |= _by_key(
    _of_inception(frechet.METRIC, name="Fréchet Inception distance (FID)"),
    *map(_of_inception, (kernel.KID, manifold.PRECISION, manifold.RECALL, manifold.DENSITY, manifold.COVERAGE)),
    _of_inception(
        inception_score.METRIC,
        key="inception_score",
        name="inception score, Inception",
        sees="sure classes of photographs, all of them; not how samples look",
    ),
)


def metrics_of(kind: Kind) -> Mapping[str, Metric]:
    """Those that belong to a kind of space."""
    return {key: metric for key, metric in METRICS.items() if metric.of == kind}
