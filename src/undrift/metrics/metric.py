"""What a metric is, and where it is measured: a metric is one value in a file of its own, listed in `registry`.

A metric is prepared once for a space, which holds the examples that samples are compared with, and then measures any samples there.
What is measured of samples is measured of as many held-out examples too: that is the floor, and what a perfect model would get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

from torch import Tensor

from undrift.metrics.estimate import LEAST, Estimate
from undrift.metrics.strata import Classes

PAIRS = 5_000  # training examples that metrics of all pairs compare with
T = TypeVar("T")
Kind = Literal["features", "inception", "values"]


class Unmeasurable(Exception):
    """A metric cannot be measured of these data, or of so few samples.

    Attributes:
        why: In words; `str` of it says besides what to read instead, where there is something.
    """

    def __init__(self, why: str, instead: str = "") -> None:
        super().__init__(why + instead)
        self.why = why


@dataclass(frozen=True)
class Measure:
    """A metric against the examples of one space.

    Attributes:
        of: Points to the estimate; None where these are too few, or have no classes where it needs them.
        least: How many points it takes.
    """

    of: Callable[[Points], Estimate | None]
    least: int = LEAST


@dataclass(frozen=True)
class Metric:
    """A metric: what it is called, which way is better, what it can and cannot see, and how it is measured.

    Attributes:
        key: In the registry and in files.
        name: In reports.
        better: Which way is.
        sees: What it can see, and what it cannot.
        of: The kind of space that it is measured in: features of the data's own network, those of the Inception network, or values
            as they are.
        against: From a space to the metric there. Raises Unmeasurable.
        least, most: No interval goes beyond these.
        answers: Of a metric that is a share: from the number of samples to that of the answers that it is a share of.
        independent: Whether each of those answers is of a sample of its own.
    """

    key: str
    name: str
    better: Literal["lower", "higher"]
    sees: str
    of: Kind
    against: Callable[[Space], Measure]
    least: float = -math.inf
    most: float = math.inf
    answers: Callable[[int], int] = lambda samples: 0
    independent: bool = False


@dataclass(frozen=True)
class Points:
    """Samples or examples in a space.

    Attributes:
        rows: `(n, d)` features, or `(n, *shape)` values.
        labels: `(n,)` classes, or None.
        even: From classes to strata.
        logits: `(n, K)` of the classifier whose features these are, where there is one; computed when asked for.
    """

    rows: Tensor
    labels: Tensor | None
    even: Classes
    logits: Callable[[], Tensor] | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def strata(self) -> Tensor | None:
        """`(n,)` classes, where the points were drawn class by class."""
        return self.even(self.labels)

    def first(self, n: int) -> Points:
        """The first n of them."""
        return Points(self.rows[:n], None if self.labels is None else self.labels[:n], self.even)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What several metrics need of these points, computed once."""
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found


@dataclass(frozen=True)
class Space:
    """Where samples are measured: the examples that they are compared with, and the metrics.

    Attributes:
        kind: Which metrics belong to it.
        name: In words.
        train: The training examples that are the reference.
        held_out: As many held-out examples as samples are measured.
        see: `(n, *shape)` samples in model space, and their classes or None, to points.
        metrics: By key.
        careful: What a reader must know of it.
    """

    kind: Kind
    name: str
    train: Points
    held_out: Points
    see: Callable[[Tensor, Tensor | None], Points]
    metrics: Mapping[str, Metric]
    careful: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers an example has there."""
        return self.train.rows[0].numel()

    @property
    def samples(self) -> int:
        """How many samples are measured."""
        return len(self.held_out.rows)

    def measure(self, key: str) -> Measure:
        """A metric by its key. Raises Unmeasurable."""
        return self.train.once(f"metric {key}", lambda: self.metrics[key].against(self))

    @cached_property
    def missing(self) -> dict[str, str]:
        """By key, why metrics cannot be measured."""
        found = {}
        for key in self.metrics:
            try:
                self.measure(key)
            except Unmeasurable as why:
                found[key] = str(why)
        return found

    @cached_property
    def floor(self) -> dict[str, Estimate]:
        """By key, what as many held-out examples get."""
        return self._measured(self.held_out)

    def estimates(self, y: Tensor, labels: Tensor | None = None) -> dict[str, Estimate]:
        """By key, every metric of `(n, *shape)` samples in model space, their classes being `(n,)` labels."""
        return self._measured(self.see(y, labels))

    def _measured(self, points: Points) -> dict[str, Estimate]:
        found = {key: self.measure(key).of(points) for key in self.metrics if key not in self.missing}
        return {key: estimate for key, estimate in found.items() if estimate is not None}
