"""Editing the data of a prediction: clipping, thresholding, projections. The noise follows.

A prediction is one statement, x_t = alpha data + sigma noise: whoever changes the data changes the noise with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from undrift.argument import function, real
from undrift.denoiser import AnyDenoiser, Prediction, check_denoiser
from undrift.process import Process, as_time, expand

DataEdit: TypeAlias = Callable[[Tensor, Tensor, Tensor | float], Tensor]  # (data, x, t) to data, all (B, *D) but t


def noise_left(process: Process, x: Tensor, t: Tensor | float, data: Tensor) -> Tensor:
    """The noise that goes with `data`: `(x - alpha data) / sigma`, `(B, *D)`; zero where sigma = 0, since none is mixed in."""
    alpha, sigma = (expand(c, x) for c in process(as_time(t, x)))
    return torch.where(sigma > 0, (x - alpha * data) / torch.where(sigma > 0, sigma, 1.0), 0.0).to(x.dtype)


class Edit(AnyDenoiser):
    """`data <- edit(data, x, t)`, and the noise such that x_t = alpha data + sigma noise still holds.

    Entries that the edit leaves as they are keep their noise to the bit. Where sigma = 0 nothing but data equal to x / alpha
    could satisfy the equation, and the noise of changed entries is zero.

    Args:
        denoiser: The denoiser to edit.
        edit: `(data, x, t) -> data`, row by row; see `clip` and `dynamic_threshold`.
    """

    def __init__(self, denoiser: AnyDenoiser, edit: DataEdit) -> None:
        super().__init__()
        check_denoiser(denoiser)
        function(edit, "edit", "give one such as undrift.clip(-1, 1)")
        self.denoiser, self.edit = denoiser, edit
        self.process, self.shape, self.sigma_data = denoiser.process, denoiser.shape, denoiser.sigma_data

    def forward(self, x: Tensor, t: Tensor | float, cond: Any = None) -> Prediction:
        return self._edited(self.denoiser(x, t, cond), x, t)

    def with_fraction(self, x: Tensor, t: Tensor | float, cond: Any = None) -> tuple[Prediction, Tensor]:
        prediction, fraction = self.denoiser.with_fraction(x, t, cond)
        return self._edited(prediction, x, t), fraction

    def _edited(self, prediction: Prediction, x: Tensor, t: Tensor | float) -> Prediction:
        data = self.edit(prediction.data, x, t)
        if data.shape != x.shape:
            raise ValueError(f"the edit made data of shape {tuple(data.shape)} for `x` of shape {tuple(x.shape)}.")
        return Prediction(data, torch.where(data == prediction.data, prediction.noise, noise_left(self.process, x, t, data)))


def clip(low: float, high: float) -> DataEdit:
    """Hold the data to `[low, high]`, model space (for images [-1, 1]; Ho et al. 2020's code).

    Raises:
        ValueError: `low` is not below `high`.
    """
    real(low, "low", finite=False)
    real(high, "high", finite=False)
    if not low < high:
        raise ValueError(f"`clip` needs low < high, got {low} and {high}.")
    return lambda data, x, t: data.clamp(low, high)


def dynamic_threshold(quantile: float = 0.995) -> DataEdit:
    """Hold each sample to `[-s, s]` and divide it by s, s being this quantile of its own |data|, at least 1.

    Keeps strong guidance from saturating images whose range is [-1, 1] (Saharia et al. 2022, Imagen, sec. 2.3).

    Args:
        quantile: In (0, 1].

    Raises:
        ValueError: a quantile outside (0, 1].
    """
    if not 0 < real(quantile, "quantile", finite=False) <= 1:
        raise ValueError(f"`quantile` must be in (0, 1], got {quantile}.")

    def edit(data: Tensor, x: Tensor, t: Tensor | float) -> Tensor:
        s = data.flatten(1).abs().quantile(quantile, dim=1).clamp(min=1).view(-1, *[1] * (data.ndim - 1))
        return data.clamp(-s, s) / s

    return edit
