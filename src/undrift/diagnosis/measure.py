"""Numbers with error bars, and when one counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

# Standard errors from zero beyond which a part is called a fault. The metric's errors come from 20 jackknife groups, so Student's
# t with 19 degrees of freedom holds: one false alarm in 800 for each part, one diagnosis in 160 for the five of a budget.
SURE = 3.5
TELLING = 5.0  # n KL from which n samples can tell two laws apart: the best test then errs about e^-5 of the time (Stein's lemma)


@dataclass(frozen=True)
class Number:
    """A value and its standard error."""

    value: float
    error: float = 0.0

    @property
    def sure(self) -> bool:
        """Whether it is above zero by more than chance."""
        return self.value > SURE * self.error

    def __str__(self) -> str:
        """Both with the digits that the error leaves."""
        if self.value == self.error == 0:
            return "0"
        if self.value == 0:
            return f"0 +- {self.error:.0e}" if self.error < 1e-4 else f"0 +- {self.error:.1g}"
        if max(abs(self.value), self.error) < 1e-4:
            return f"{self.value:.1e} +- {self.error:.0e}"
        digits = max(0, min(8, 1 - int(f"{self.error:e}".split("e")[1]))) if 0 < self.error < math.inf else 4
        return f"{self.value:.{digits}f} +- {self.error:.{digits}f}"

    @classmethod
    def mean(cls, values: Tensor) -> Number:
        """The mean of `(n,)` independent values."""
        values = values.double()
        return cls(float(values.mean()), float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.inf)


@dataclass(frozen=True)
class Nats:
    """What is known of a Kullback-Leibler divergence: it lies between the two, which are one where it is known exactly."""

    at_least: Number
    at_most: Number

    @property
    def known(self) -> bool:
        """Whether both ends are the same number."""
        return self.at_least == self.at_most

    def over(self, beyond: Number | None) -> Nats:
        """Over the best floor: itself where it is known, else above an extrapolated floor, unless it is proved to be more."""
        if beyond is None or self.known:
            return self
        proved = self.at_least.value - SURE * self.at_least.error > beyond.value
        return Nats(self.at_least, self.at_least) if proved else Nats(beyond, beyond)

    def counts(self, n: int) -> bool:
        """Whether it is surely more than n samples are blind to."""
        return self.at_least.value - SURE * self.at_least.error > TELLING / n
