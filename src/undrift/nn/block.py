"""The residual block of U-Nets, and what it is told.

Source: He et al. 2016 (residuals), Ho et al. 2020 (with time), Dhariwal & Nichol 2021 (section 3: adaptive group norm).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from undrift.nn.attend import CONVOLUTION, Attention, CrossAttention
from undrift.nn.embed import zero
from undrift.nn.inject import INJECTIONS, norm


class Told(NamedTuple):
    """What every block is told: the vector of level and condition (B, embedding), and the sequence with its mask."""

    vector: Tensor | None
    sequence: Tensor | None
    mask: Tensor | None


class Block(nn.Module):
    """Residual block: two convolutions of side 3, the second after a norm that is told the level and the condition.

    x W + conv2(SiLU(inject(conv1(SiLU(norm(x))), c)))         W = 1 where the widths agree

    After it comes attention, where there is any: self-attention, in one head if `single`, then to a `sequence` of that width.
    `group`: fewest channels of a group of its norms.
    """

    outer = ("modulation",)

    def __init__(
        self,
        width_in: int,
        width: int,
        embedding: int,
        dropout: float,
        attention: bool,
        injection: str,
        sequence: int,
        rank: int = 2,
        single: bool = False,
        group: int = 4,
    ) -> None:
        super().__init__()
        convolution = CONVOLUTION[rank]
        self.norm1, self.conv1 = norm(width_in, group=group), convolution(width_in, width, 3, padding=1)
        self.inject, self.conv2 = INJECTIONS[injection](width, group), zero(convolution(width, width, 3, padding=1))
        parts = self.inject.parts
        self.modulation, self.dropout = nn.Linear(embedding, parts * width) if parts else None, nn.Dropout(dropout)
        self.skip = nn.Identity() if width_in == width else convolution(width_in, width, 1)
        self.attention = Attention(width, rank, single, group) if attention else nn.Identity()
        self.reading = CrossAttention(width, sequence, rank) if attention and sequence else None

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """Map (B, width_in, H, W) and what is told to (B, width, H, W)."""
        vector = None if self.modulation is None else self.modulation(told.vector)[(...,) + (None,) * (x.ndim - 2)]
        h = self.inject(self.conv1(F.silu(self.norm1(x))), vector)
        h = self.conv2(self.dropout(F.silu(h)))
        out: Tensor = self.attention(self.skip(x) + h)
        return out if self.reading is None else self.reading(out, told.sequence, told.mask)
