"""A residual multilayer perceptron: the network for points, tables and very small pictures.

Source: pre-normalised residual blocks from He et al. 2016; scale and shift by the condition from Perez et al.
2018 (FiLM) and Dhariwal & Nichol 2021 (section 3).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from undrift.condition import Condition
from undrift.nn.arguments import remembered
from undrift.nn.embed import Conditioning, check_batch, check_condition, zero


class MLPBlock(nn.Module):
    """h + W2 SiLU(scale(c) W1 norm(h) + shift(c)) on (B, width); starts as the identity (W2 = 0)."""

    outer = ("modulation",)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.first = nn.LayerNorm(width), nn.Linear(width, width)
        self.modulation = nn.Linear(width, 2 * width)
        self.last = zero(nn.Linear(width, width))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map (B, width) and the condition (B, width) to (B, width)."""
        scale, shift = self.modulation(c).chunk(2, dim=1)
        out: Tensor = h + self.last(nn.functional.silu(self.first(self.norm(h)) * (1 + scale) + shift))
        return out


@remembered
class MLP(nn.Module):
    """Residual multilayer perceptron for samples of any fixed shape; blind to geometry, so for small ones.

    Args:
        shape: Shape of one sample, without the batch; () is a scalar, (2,) a point, (8, 8) a table of 64
        numbers. width: Hidden size, at least 1. depth: Number of residual blocks, at least 1. classes: Number
        of classes; 0 for an unconditional network. learned_variance: Whether to put out twice as many numbers, the
        second half for the variance of the reverse step (see `HybridObjective`). vector: Length K of a condition's
        vector; 0 for none.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> net = MLP((2,), classes=3)
        >>> net(torch.randn(5, 2), torch.zeros(5), torch.tensor([0, 1, 2, -1, -1])).shape
        torch.Size([5, 2])
    """

    outer = ("conditioning", "first", "last")  # no matrices between hidden layers: see `undrift.training.muon`

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        depth: int = 3,
        classes: int = 0,
        learned_variance: bool = False,
        vector: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if any(size < 1 for size in self.shape):
            raise ValueError(f"`shape` must hold sizes of at least 1, but is {self.shape}; give one sample's shape.")
        if learned_variance and not self.shape:
            raise ValueError("a learned variance needs samples with an axis, such as (1,), not scalars ().")
        if width < 1 or depth < 1:
            raise ValueError(f"`width` and `depth` must be at least 1, but are {width} and {depth}; start with 128 and 3.")
        size = math.prod(self.shape)
        self.conditioning = Conditioning(width, classes, vector)
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(MLPBlock(width) for _ in range(depth))
        self.norm, self.last = nn.LayerNorm(width), zero(nn.Linear(width, size * (1 + learned_variance)))

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | Condition | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: (B, *shape) of about unit variance.
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 classes, -1 for the null class; or a `Condition` of `label` and `vector`. A part left out, or
                None, means its null for all.

        Returns:
            (B, *shape), zeros before training; (B, 2 shape[0], ...) with a learned variance.

        Raises:
            ValueError: a shape or a class is wrong.
        """
        check_batch(x, level, self.shape)
        given = check_condition(cond, x.shape[0], self.conditioning.classes, self.conditioning.vector, 0, 0)
        c, h = self.conditioning(level, given), self.first(x.reshape(x.shape[0], -1))
        for block in self.blocks:
            h = block(h, c)
        out: Tensor = self.last(nn.functional.silu(self.norm(h)))
        if out.shape[1] > math.prod(self.shape):
            return out.reshape(x.shape[0], 2 * self.shape[0], *self.shape[1:])
        return out.reshape(x.shape)
