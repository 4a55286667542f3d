"""Half precision in training, and what stays out of it.

Torch's autocast runs convolutions and products in 16 bits; weights, losses, gradients, norms, moments and averages stay in float32.
bfloat16 has the range of float32 and needs nothing else. float16 has not: small gradients underflow to zero. So the loss is multiplied by
a scale before the way back and the gradient divided by it after (Micikevicius et al. 2018, sec. 3.2). A scale that is too large makes a gradient
infinite; that step changes no weight, and the scale is halved. After 2,000 steps without that it is doubled.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from undrift.device import in_precision

LEAST_SCALE = 1.0  # a gradient that is infinite even then is not the scale's fault


class Precision:
    """The precision of a trainer's steps.

    Args:
        wanted: The recipe's, see `undrift.device.in_precision`.
        device: Where it trains.

    Attributes:
        scaler: Of the loss in float16, else None; part of the run's state.
        skipped: Whether the last step changed no weight because of it.
    """

    def __init__(self, wanted: str, device: torch.device) -> None:
        self.kind = in_precision(wanted, device)
        self.device, self.skipped = device, False
        self.scaler = torch.amp.GradScaler(device.type) if wanted == "float16" else None

    def autocast(self) -> Any:
        """The context of a forward pass."""
        return nullcontext() if self.kind is None else torch.autocast(self.device.type, self.kind)

    def scaled(self, loss: Tensor) -> Tensor:
        """What to go back from."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def settle(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, once they are complete, and see whether that went well."""
        self.skipped = False
        if self.scaler is not None:
            before = self.scaler.get_scale()
            self.scaler.unscale_(optimizer)
            self.scaler.update()
            self.skipped = self.scaler.get_scale() < before and before > LEAST_SCALE
