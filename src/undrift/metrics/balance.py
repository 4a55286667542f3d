"""Bias and diversity: which classes are drawn how often, and how much do samples of one class differ?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import chisquare
from torch import Tensor

from undrift.argument import rows64
from undrift.metrics.distance import Estimate, jackknife
from undrift.metrics.interval import wilson


@dataclass(frozen=True)
class Balance:
    """Class frequencies against those of the training data.

    Attributes:
        classes: Names.
        counts: `(K,)` of examples that the judge saw as each class.
        expected: `(K,)` shares of the training data.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    expected: tuple[float, ...]

    @property
    def p(self) -> float:
        """Chance, if classes came as often as in the training data, of counts as far from that (Pearson's chi-square).

        0 where a class is seen that the training data do not have; else 1 where these have one class only.
        """
        held = [(c, e) for c, e in zip(self.counts, self.expected, strict=True) if e > 0]
        if sum(c for c, _ in held) < sum(self.counts):
            return 0.0
        if len(held) < 2:
            return 1.0
        n = sum(self.counts)
        return float(chisquare([c for c, _ in held], [n * e for _, e in held]).pvalue)

    @property
    def fewest(self) -> float:
        """The smallest expected count; below 5 the chance is a rough one."""
        return min(e for e in self.expected if e > 0) * sum(self.counts)

    def intervals(self) -> list[tuple[float, float]]:
        """Wilson's 95 % for the share of each class."""
        n = sum(self.counts)
        return [wilson(c / n, n) for c in self.counts]


def balance(seen: Tensor, train: Tensor, classes: tuple[str, ...]) -> Balance:
    """Frequencies of `(n,)` class numbers seen against those of `(M,)` in training."""
    count = torch.bincount(seen, minlength=len(classes))
    share = torch.bincount(train, minlength=len(classes)).double() / len(train)
    return Balance(classes, tuple(count.tolist()), tuple(share.tolist()))


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
