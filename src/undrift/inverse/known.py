"""Known values as a measurement: filling in what is missing by the posterior's own gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from undrift.denoiser import AnyDenoiser
from undrift.guidance import Known
from undrift.inverse.method import MMPS
from undrift.inverse.operator import Operator
from undrift.inverse.posterior import Posterior
from undrift.noise import Noise

NOISE = 0.03  # standard deviation that the known values are taken to have, model space: less than data of unit spread can show


def measured(denoiser: AnyDenoiser, values: Tensor, mask: Tensor, noise: Noise) -> AnyDenoiser:
    """A `Method` of `undrift.impute`: the posterior by moment matching (`MMPS`), and the values themselves where they are known.

    Unlike replacement it pulls on the missing entries with what the known ones say, at every noise level (Rozet et al. 2024).

    Args:
        denoiser: The prior's.
        values, mask: `(B, *D)`; True where known.
        noise: Not needed.
    """
    if not bool(mask.any()):
        return denoiser
    operator = Operator(lambda x: torch.where(mask[: len(x)], x, 0.0), tuple(values.shape[1:]), name="known values")
    y = torch.where(mask, values, 0.0)
    return Known(Posterior(denoiser, operator, y, NOISE, MMPS()), values, mask)
