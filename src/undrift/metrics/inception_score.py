"""The inception score: is every sample surely of some class, and do all classes come equally often?"""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.argument import rows64
from undrift.metrics.estimate import Estimate, jackknife
from undrift.metrics.metric import Measure, Metric, Points, Space, Unmeasurable


def inception_score(logits: Tensor) -> Estimate:
    """`exp E KL(p(y | x) || E p(y))` of logits `(n, K)`, n of at least 20: between 1 and K (Salimans et al. 2016, sec. 4).

    Of a classifier of the user's own data it is high where every picture is surely of some class and all classes come equally
    often; it knows nothing of what a class should look like.
    """
    logits = rows64(logits, "logits")
    if logits.ndim != 2 or not bool(torch.isfinite(logits).all()):
        raise ValueError(f"`logits` must be (n, K) finite numbers, got shape {tuple(logits.shape)}.")
    log_p = logits.log_softmax(1)

    def score(kept: Tensor) -> float:
        own = log_p[kept]
        return float((own.exp() * (own - own.exp().mean(0).clamp(min=1e-300).log())).sum(1).mean().exp())

    return jackknife(score, len(logits))


def _against(space: Space) -> Measure:
    if space.held_out.logits is None:
        raise Unmeasurable("the data have no classes" if space.train.labels is None else "one class only")

    def of(points: Points) -> Estimate | None:
        return None if points.logits is None else inception_score(points.logits())

    return Measure(of)


METRIC = Metric(
    "inception",
    "inception score, by the data's classifier",
    "higher",
    "sure classes, all of them; not how samples look",
    "features",
    _against,
    1.0,
)
