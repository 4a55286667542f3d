"""Intervals of 95 %: Student's around a jackknife, Wilson's around a share of yes and no, and two of ranks.

Where samples are few or all alike, their own scatter may be zero, and nothing is sure for that. So a share's interval holds the
shares that would scatter far enough to give what was seen (Wilson 1927), by what *they* would scatter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from undrift.argument import rows64
from undrift.metrics.estimate import Estimate

LEVEL = 0.95


def student(estimate: Estimate) -> tuple[float, float]:
    """`value -+ t_{G-1} standard error`, G groups having been left out in turn (Tukey 1958). NaN of fewer than two groups.

    The jackknife and not the bootstrap: a bootstrap draws samples twice, and two equal samples are neighbours at distance zero and
    pairs that no U-statistic has, so that k-nearest-neighbour metrics, KID, MMD and the Frechet distance are all pulled one way.
    Groups that are left out leave the rest distinct.
    """
    from scipy.stats import t

    half = float(t.ppf((1 + LEVEL) / 2, max(1, len(estimate.replicates) - 1))) * estimate.standard_error
    return estimate.value - half, estimate.value + half


def wilson(share: float, n: int) -> tuple[float, float]:
    """The interval of a share of `n` independent answers; sensible at 0 and at 1 too (Wilson 1927).

    Raises:
        ValueError: a share outside [0, 1], or n below 1.
    """
    from scipy.stats import norm

    if not 0 <= share <= 1 or n < 1:
        raise ValueError(f"a share must lie in [0, 1] of at least one answer, but is {share} of {n}.")
    z2 = float(norm.ppf((1 + LEVEL) / 2)) ** 2
    centre, width = share + z2 / (2 * n), math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    low, high = (centre - width) / (1 + z2 / n), (centre + width) / (1 + z2 / n)
    return (0.0 if share == 0 else low), (1.0 if share == 1 else high)


def median(values: Tensor) -> tuple[float, float]:
    """Of the median of `(n,)` independent values, by their order alone, whatever their law.

    As many values lie below it as heads come up in n throws of a coin.
    """
    from scipy.stats import binom

    values = rows64(values, "values")
    n = len(values) if values.ndim == 1 else 0
    if not n or bool(values.isnan().any()):
        raise ValueError(f"`values` must be (n,) numbers, at least one and none NaN, got shape {tuple(values.shape)}.")
    low = int(binom.ppf((1 - LEVEL) / 2, n, 0.5))
    ordered = values.sort().values
    return float(ordered[max(0, low - 1)]), float(ordered[min(n - 1, n - low)])


def ahead(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Of the chance that one of `x` `(n,)` is larger than one of `y` `(m,)`, ties being halves. Both are independent draws.

    The wider of two. DeLong et al. 1988, eq. 5, holds for any laws, but by the scatter of the sample, which is zero where all of
    x are ahead. Newcombe 2006 (method 5) holds the chances that would scatter far enough, as Wilson's does, by the scatter of
    exponential laws (Hanley & McNeil 1982).
    """
    from scipy.optimize import brentq
    from scipy.stats import norm, rankdata

    n, m, z = len(x), len(y), float(norm.ppf((1 + LEVEL) / 2))
    both = torch.from_numpy(rankdata(torch.cat([x, y]).numpy()))
    over = (both[:n] - torch.from_numpy(rankdata(x.numpy()))) / m  # for each of x, the share of y below it
    under = 1 - (both[n:] - torch.from_numpy(rankdata(y.numpy()))) / n
    chance = float(over.mean())
    half = z * math.sqrt(float(over.var() / n + under.var() / m)) if min(n, m) > 1 else 1.0

    def beyond(p: float) -> float:
        """How far p is off what was seen, squared, over what is allowed; below zero inside."""
        more = (n + m) / 2 - 1
        return (p - chance) ** 2 - z * z * p * (1 - p) * (1 + more * ((1 - p) / (2 - p) + p / (1 + p))) / (n * m)

    inside = min(max(chance, 1e-9), 1 - 1e-9)  # 0 and 1 are roots of their own
    low = brentq(beyond, 0.0, inside) if chance > 0 else 0.0
    high = brentq(beyond, inside, 1.0) if chance < 1 else 1.0
    return max(0.0, min(low, chance - half)), min(1.0, max(high, chance + half))
