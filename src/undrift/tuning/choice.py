"""The choice among several whose differences may be chance: the cheapest of those as good as the best, on a tie what is in use.

Of many candidates that are equally good, one has the best metric by chance. To take it would change a model for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
WITHIN = 2.0  # standard errors of a difference that are no difference


def sigmas(gap: float, error: float) -> float:
    """A difference in standard errors of it: 0 where the error is not known, so that nothing can be said; NaN is infinite."""
    if not math.isfinite(gap):
        return math.inf if math.isnan(gap) else gap
    if math.isnan(error) or gap == 0:
        return 0.0
    return gap / max(error, 1e-300)


def choose(
    ranked: Sequence[T], worse: Callable[[T, T], float], cost: Callable[[T], float] = lambda one: 0.0, present: T | None = None
) -> T:
    """The cheapest of those within the error of the best; of equal cost the one in use, else the better.

    Where the one in use is itself within the error of the best, nothing takes its place that is clearly worse than it.

    Args:
        ranked: Candidates, at least one, the best first.
        worse: How much worse one is than another, in standard errors of the difference, as `sigmas` gives it.
        cost: Of using one.
        present: The candidate that is in use; None where it is not among them.
    """
    near = [one for one in ranked if one is ranked[0] or worse(one, ranked[0]) <= WITHIN]
    if present is not None and any(one is present for one in near):
        near = [one for one in near if one is present or worse(one, present) <= WITHIN]
    least = min(map(cost, near))
    cheapest = [one for one in near if cost(one) == least]
    return next((one for one in cheapest if one is present), cheapest[0])
