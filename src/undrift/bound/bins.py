"""The discretised decoder: what a Gaussian says about integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undrift.argument import real


@dataclass(frozen=True)
class Bins:
    """Integer data as they look in model space: bins `low, low + width, ..., high`, the outer two open to infinity.

    The probability of a bin under a Gaussian is the discretised decoder of Ho et al. 2020, eq. 13. Numbers, or one for each
    index of the first axis of a sample. Default: 8-bit data in [-1, 1].
    """

    low: float | tuple[float, ...] = -1.0
    high: float | tuple[float, ...] = 1.0
    width: float | tuple[float, ...] = 2 / 255

    def __post_init__(self) -> None:
        for name in ("low", "high", "width"):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                real(number, name)

    @staticmethod
    def of(spec: Any) -> Bins:
        """The bins of a data spec (`undrift.data.Spec`) of bounded integers.

        Raises:
            ValueError: data that are not integers in known bounds.
        """
        if not spec.integer or spec.low is None:
            raise ValueError("bins need integer data with bounds; leave `bins` out for a density.")
        one = not isinstance(spec.shift, tuple) and not isinstance(spec.scale, tuple)
        shift, scale = (a if isinstance(a, tuple) else (a,) * (1 if one else spec.shape[0]) for a in (spec.shift, spec.scale))
        parts = [tuple((end - m) / s for m, s in zip(shift, scale, strict=True)) for end in (spec.low, spec.high)]
        parts.append(tuple(1 / s for s in scale))
        return Bins(*(p[0] if one else p for p in parts))

    def log_prob(self, x0: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """log P(bin of x0) under `N(mean, variance)`, nats, entry by entry, float64.

        Raises:
            ValueError: `x0` outside the bins.
        """
        x0 = x0.double()
        low, high, half = (self._like(a, x0) for a in (self.low, self.high, self.width))
        half = half / 2
        if bool(((x0 < low - half) | (x0 > high + half)).any()):
            raise ValueError(f"data reach from {x0.min():g} to {x0.max():g}, outside the bins from {self.low} to {self.high}.")
        std = variance.double().sqrt()
        # Finite stand-ins for infinity keep the gradient free of 0 * inf.
        lower = ((x0 - half - mean) / std).masked_fill(x0 < low + half, -1e100)
        upper = ((x0 + half - mean) / std).masked_fill(x0 > high - half, 1e100)
        right = lower + upper > 0  # measure in the tail where the normal distribution function is small, not near 1
        lower, upper = torch.where(right, -upper, lower), torch.where(right, -lower, upper)
        a, b = torch.special.log_ndtr(lower), torch.special.log_ndtr(upper)
        return b + torch.log(-torch.expm1(a - b))

    @staticmethod
    def _like(value: float | tuple[float, ...], x: Tensor) -> Tensor:
        numbers = torch.tensor(value, dtype=torch.float64, device=x.device)
        return numbers.reshape(-1, *[1] * (x.ndim - 2)) if numbers.ndim else numbers
