"""Guidance in a limited interval of noise levels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from undrift.argument import real
from undrift.denoiser import AnyDenoiser, Prediction
from undrift.guidance.together import one_process
from undrift.process import as_time, expand


class Interval(AnyDenoiser):
    """`guided` where low <= sigma/alpha <= high, `plain` elsewhere (Kynkäänniemi et al. 2024, eq. 5).

    At high noise guidance makes all samples of a class alike, at low noise it is idle; between, it does the work. Outside
    the interval only the plain side is evaluated, so it is cheaper too:

        Interval(Mix(d, d.given(None), 3.0), d, 0.3, 5.0)          Interval(Tilt(u, log_prob, 3.0), u, 0.3, 5.0)

    Args:
        guided: The denoiser of the interval.
        plain: The denoiser outside; same process.
        low, high: Ratios sigma/alpha, 0 <= low < high, infinity allowed; log-SNR is -2 log of the ratio.

    Raises:
        ValueError: different processes, or bounds out of order.
    """

    def __init__(self, guided: AnyDenoiser, plain: AnyDenoiser, low: float, high: float) -> None:
        super().__init__()
        one_process("Interval", guided, plain)
        real(low, "low")
        real(high, "high", finite=False)
        if not 0 <= low < high:
            raise ValueError(f"`Interval` needs 0 <= low < high, ratios sigma/alpha, got {low} and {high}.")
        self.guided, self.plain, self.low, self.high = guided, plain, low, high
        self.process, self.shape, self.sigma_data = guided.process, guided.shape, guided.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        inside = self.inside(as_time(t, x))
        if inside.ndim == 0:
            return (self.guided if inside else self.plain)(x, t, cond)
        inside = expand(inside, x).bool()
        sides = self.guided(x, t, cond), self.plain(x, t, cond)
        return Prediction(*(torch.where(inside, a, b) for a, b in zip(*sides, strict=True)))

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        """As the call, with the learned variance of the plain side."""
        return self(x, t, cond), self.plain.with_fraction(x, t, cond)[1]

    def inside(self, t: Tensor) -> Tensor:
        """Whether times `()` or `(B,)` lie in the interval; booleans of the same shape."""
        alpha, sigma = self.process(t)
        return (sigma >= self.low * alpha) & (sigma <= self.high * alpha if self.high < float("inf") else sigma >= 0)
