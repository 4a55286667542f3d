"""Which classes are drawn how often, and is that as often as in the training data?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
        from scipy.stats import chisquare

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
