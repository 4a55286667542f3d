"""A learned noise schedule: a monotone network for the log-SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undrift.argument import function, real, whole
from undrift.process.base import Process, sigmoid


class Monotone(nn.Module):
    """A decreasing function of u in [0, 1] with given, learnable ends (Kingma et al. 2021, app. H).

        log_snr(u) = top + (bottom - top) (h(u) - h(0)) / (h(1) - h(0)),   h(u) = a u + sum_j c_j sigmoid(b_j (u - m_j))

    with a, b, c > 0, so h grows. The ends are parameters, too, but move only the bound, not its variance; freeze them with
    `ends.requires_grad_(False)` (the default) and nothing but the way between them is learned.

    Args:
        log_snr_max, log_snr_min: The two ends.
        width: Number of sigmoids.
        learn_ends: Whether the ends are trained.
    """

    def __init__(self, log_snr_max: float, log_snr_min: float, width: int = 64, learn_ends: bool = False) -> None:
        super().__init__()
        whole(width, "width", 1)
        real(log_snr_max, "log_snr_max")
        real(log_snr_min, "log_snr_min")
        if not (math.isfinite(log_snr_max) and math.isfinite(log_snr_min) and log_snr_min < log_snr_max) or width < 1:
            raise ValueError(
                f"a learned schedule needs finite log_snr_min < log_snr_max and width >= 1, "
                f"got {log_snr_min}, {log_snr_max} and {width}."
            )
        kind = torch.float64
        self.ends = nn.Parameter(torch.tensor([log_snr_max, log_snr_min], dtype=kind), requires_grad=learn_ends)
        self.slope = nn.Parameter(torch.zeros((), dtype=kind))  # logarithms of a, b, c: positive whatever training does
        self.steepness = nn.Parameter(torch.full((width,), math.log(width / 4), dtype=kind))
        self.height = nn.Parameter(torch.full((width,), -math.log(4 * width), dtype=kind))
        self.middle = nn.Parameter(torch.linspace(0, 1, width, dtype=kind))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """log_snr and its derivative in u, both of the shape of `u`."""
        top, bottom = self.ends.to(u)
        start, _ = self._h(torch.zeros((), dtype=u.dtype, device=u.device))
        end, _ = self._h(torch.ones((), dtype=u.dtype, device=u.device))
        value, rate = self._h(u)
        scale = (bottom - top) / (end - start)
        return top + scale * (value - start), scale * rate

    def _h(self, u: Tensor) -> tuple[Tensor, Tensor]:
        slope, steepness, height, middle = (p.to(u) for p in (self.slope, self.steepness, self.height, self.middle))
        slope, steepness, height = slope.exp(), steepness.exp(), height.exp()
        gate = sigmoid(steepness * (u[..., None] - middle))
        value = slope * u + (height * gate).sum(-1)
        return value, slope + (height * steepness * gate * (1 - gate)).sum(-1)


@dataclass(frozen=True, eq=False)
class Learned(Process):
    """Variance preserving with a learned log-SNR: alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr).

    Train `curve.parameters()` with `ScheduleVariance`. They are no parameters of a denoiser that uses the process, so training
    a network leaves the schedule alone. alpha and sigma are differentiable in them.

    Args:
        curve: A `Monotone`, or any module from u in [0, 1] to (log_snr, its derivative), decreasing.

    Source: Kingma et al. 2021, sec. 3.1 and app. H.
    """

    curve: Monotone = field(default_factory=lambda: Monotone(12.0, -9.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        function(self.curve, "curve", "give a `Monotone`, or a module from u in [0, 1] to (log_snr, its derivative)")

    def __eq__(self, other: object) -> bool:  # two schedules with the same interval are not the same
        return self is other

    __hash__ = object.__hash__

    def _curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        span = self.t_max - self.t_min
        value, rate = self.curve((t - self.t_min) / span)
        return value, rate / span

    def log_snr(self, t: Tensor) -> Tensor:
        return self._curve(t)[0]

    def alpha(self, t: Tensor) -> Tensor:
        return sigmoid(self._curve(t)[0]).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return sigmoid(-self._curve(t)[0]).sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_snr, rate = self._curve(t)
        alpha2, sigma2 = sigmoid(log_snr), sigmoid(-log_snr)
        return alpha2.sqrt() * sigma2 * rate / 2, -sigma2.sqrt() * alpha2 * rate / 2

    @torch.no_grad()
    def time(self, log_snr: Tensor) -> Tensor:
        return super().time(log_snr)
