"""Linear layers with an activation between them: the score networks of the papers' examples in the plane.

    001, Fig. 3       2-128-128-2, ReLU, one noise level        PlainMLP((2,), told=False)
    000's tutorial    three layers of 64, LogSigmoid            PlainMLP((2,), (64, 64, 64), "logsigmoid", told=False)

For anything but a comparison with the papers use `MLP`: it has residuals, norms and a level that every layer reads.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from undrift.condition import Condition
from undrift.nn.arguments import remembered
from undrift.nn.channels import InputChannels
from undrift.nn.embed import check_batch, check_condition

ACTIVATIONS = {"relu": F.relu, "logsigmoid": F.logsigmoid}


@remembered
class PlainMLP(nn.Module):
    """Multilayer perceptron for samples of any fixed shape; level, one-hot class and vector are numbers beside the sample's.

    Args:
        shape: Shape of one sample, without the batch.
        widths: Sizes of the hidden layers.
        activation: "relu" or "logsigmoid".
        told: Whether the network is told anything; without it is one function for all noise levels, for processes that have
            one, or none (explicit and implicit score matching at one level).
        classes: Number of classes; 0 for an unconditional network.
        vector: Length K of a condition's vector; 0 for none.

    Raises:
        ValueError: an argument is out of range, or there are classes or a vector and `told` is False.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        widths: tuple[int, ...] = (128, 128),
        activation: Literal["relu", "logsigmoid"] = "relu",
        told: bool = True,
        classes: int = 0,
        vector: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if not widths or min(*self.shape, *widths, 1) < 1 or min(classes, vector) < 0:
            raise ValueError(
                f"`widths` and the sizes of `shape` must be at least 1, `classes` and `vector` at least 0, but are "
                f"{tuple(widths)}, {self.shape}, {classes} and {vector}; start with widths (128, 128)."
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"`activation` {activation!r} is not one of {', '.join(ACTIVATIONS)}.")
        if (classes or vector) and not told:
            raise ValueError(
                f"a network with `told` = False reads no classes and no vector, but there are {classes} and {vector}."
            )
        self.activation, self.classes, self.vector, size = activation, classes, vector, math.prod(self.shape)
        self.beside = InputChannels(0, told, classes, vector)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([size + self.beside.count, *widths, size]))

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | Condition | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: (B, *shape) of about unit variance.
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 classes, -1 for the null class; or a `Condition` of `label` and `vector`. A part left out, or
                None, means its null for all.

        Returns:
            (B, *shape).

        Raises:
            ValueError: a shape or a class is wrong.
        """
        check_batch(x, level, self.shape)
        told = check_condition(cond, x.shape[0], self.classes, self.vector, 0, 0)
        h = self.beside(x.reshape(x.shape[0], -1), level, told)
        for i, layer in enumerate(self.layers):
            h = layer(ACTIVATIONS[self.activation](h) if i else h)
        return h.reshape(x.shape)
