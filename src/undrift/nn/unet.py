"""A U-Net for pictures of any size: of two axes, and likewise sequences of one and volumes of three.

The picture is halved level by level while the features widen, then doubled back; at each level the way up is
handed what the way down saw at that resolution (the skip). Sizes need not divide: halving rounds up, and
doubling crops to the skip it meets. Each residual block reads the noise level and the condition at its second
normalisation, in one of the ways of `inject`. Self-attention, which lets distant pixels talk, is quadratic in the
number of pixels and so belongs to the coarse levels; there a sequence, such as a text, is read as well.

Where the speed comes from on a CPU: `patch=2` folds 2x2 pixels into channels, so that nothing runs at full
resolution; wide layers on small maps keep the arithmetic units busy; channels-last memory spares the
reordering.

Source: Ronneberger et al. 2015 (the U), Ho et al. 2020 (residual blocks with time), Dhariwal & Nichol 2021
(section 3: adaptive group norm, attention at low resolution), Karras et al. 2022 (scaling outside the
network; see `denoiser`), Shi et al. 2016 (pixel shuffle).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from undrift.condition import Condition
from undrift.nn.attend import CONVOLUTION, Attention, CrossAttention
from undrift.nn.channels import InputChannels
from undrift.nn.embed import Conditioning, check_batch, check_condition, zero
from undrift.nn.inject import INJECTIONS, norm

POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LAYOUT = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}  # the quickest for each rank


def fold(x: Tensor, patch: int) -> Tensor:
    """(B, C, *sides) to (B, C patch^rank, *sides / patch), as `pixel_unshuffle` does for pictures."""
    batch, channels, *sides = x.shape
    rank = len(sides)
    split = x.reshape(batch, channels, *(n for side in sides for n in (side // patch, patch)))
    order = [0, 1, *range(3, 2 * rank + 2, 2), *range(2, 2 * rank + 2, 2)]
    return split.permute(order).reshape(batch, channels * patch**rank, *(side // patch for side in sides))


def unfold(x: Tensor, patch: int) -> Tensor:
    """The inverse of `fold`."""
    batch, channels, *sides = x.shape
    rank = len(sides)
    split = x.reshape(batch, channels // patch**rank, *[patch] * rank, *sides)
    order = [0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i))]
    return split.permute(order).reshape(batch, channels // patch**rank, *(side * patch for side in sides))


def double(x: Tensor) -> Tensor:
    """(B, C, *sides) to (B, C, *2 sides), every entry twice along each side.

    As `interpolate(x, scale_factor=2)`, whose gradient torch 2.13 compiles to zeros in bfloat16 on a CPU.
    """
    x = x.movedim(1, -1)  # as it lies in memory
    for axis in range(1, x.ndim - 1):
        x = torch.stack((x, x), axis + 1).flatten(axis, axis + 1)
    return x.movedim(-1, 1)


def cut(x: Tensor, sides: tuple[int, ...]) -> Tensor:
    """The first entries of each of the last axes, as many as `sides` says."""
    for axis, side in enumerate(sides, x.ndim - len(sides)):
        x = x.narrow(axis, 0, side)
    return x


class Told(NamedTuple):
    """What every block is told: the vector of level and condition (B, embedding), and the sequence with its mask."""

    vector: Tensor | None
    sequence: Tensor | None
    mask: Tensor | None


class Block(nn.Module):
    """Residual block: two convolutions of side 3, the second after a norm that is told the level and the condition.

    x W + conv2(SiLU(inject(conv1(SiLU(norm(x))), c)))         W = 1 where the widths agree
    """

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
    ) -> None:
        super().__init__()
        convolution = CONVOLUTION[rank]
        self.norm1, self.conv1 = norm(width_in), convolution(width_in, width, 3, padding=1)
        self.inject, self.conv2 = INJECTIONS[injection](width), zero(convolution(width, width, 3, padding=1))
        parts = self.inject.parts
        self.modulation, self.dropout = nn.Linear(embedding, parts * width) if parts else None, nn.Dropout(dropout)
        self.skip = nn.Identity() if width_in == width else convolution(width_in, width, 1)
        self.attention = Attention(width, rank) if attention else nn.Identity()
        self.reading = CrossAttention(width, sequence, rank) if attention and sequence else None

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """Map (B, width_in, H, W) and what is told to (B, width, H, W)."""
        vector = None if self.modulation is None else self.modulation(told.vector)[(...,) + (None,) * (x.ndim - 2)]
        h = self.inject(self.conv1(F.silu(self.norm1(x))), vector)
        h = self.conv2(self.dropout(F.silu(h)))
        out: Tensor = self.attention(self.skip(x) + h)
        return out if self.reading is None else self.reading(out, told.sequence, told.mask)


class Stage(nn.ModuleList):
    """Blocks at one resolution, one after the other."""

    recompute = False  # in training: keep only what goes in, and compute the rest again for the gradient

    def forward(self, h: Tensor, told: Told) -> Tensor:
        """Map (B, width_in, H, W) and what is told to (B, width, H, W)."""
        for block in self:
            h = checkpoint(block, h, told, use_reentrant=False) if self.recompute and torch.is_grad_enabled() else block(h, told)
        return h


class UNet(nn.Module):
    """Noise-conditional U-Net on (B, channels_in, H, W) for any H, W of at least 1; with `rank` on one or three such sides.

    Args:
        channels_in: Channels of the picture, at least 1 (the output has as many). widths: Features at each
        level, finest first; each level has half the resolution of the one before. blocks: Residual blocks at
        each level, on the way down and again on the way up. attention: Levels (0 is the finest) whose blocks
        end in self-attention. patch: Side of the square of pixels that is folded into channels before the
        finest level; 1 folds nothing. classes: Number of classes; 0 for an unconditional network. dropout:
        Probability in [0, 1) with which a feature is dropped inside each block, in training only. embedding:
        Size of the vector that carries level and condition to the blocks. learned_variance: Whether to put out twice
        the channels, the second half for the variance of the reverse step (see `HybridObjective`). injection: How blocks
        are told level, class and vector: "adaptive", "addition", "instance" or "channels"; see `inject`. vector, image,
        sequence: Sizes of the other parts of a `Condition`, 0 for none: numbers K, channels C' of a picture beside the
        input, width C of the entries of a sequence, which is read by cross-attention on the levels of `attention`. rank: Axes
        of a sample besides the channels: 1 for sequences (C, L), 2 for pictures, 3 for volumes (C, D, H, W).

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> net = UNet(1, widths=(16, 32), classes=10)
        >>> net(torch.randn(2, 1, 27, 9), torch.zeros(2), torch.tensor([7, -1])).shape
        torch.Size([2, 1, 27, 9])
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...] = (64, 128),
        blocks: int = 2,
        attention: tuple[int, ...] = (),
        patch: int = 1,
        classes: int = 0,
        dropout: float = 0.0,
        embedding: int = 256,
        learned_variance: bool = False,
        injection: Literal["adaptive", "addition", "instance", "channels"] = "adaptive",
        vector: int = 0,
        image: int = 0,
        sequence: int = 0,
        rank: int = 2,
    ) -> None:
        super().__init__()
        widths, attention = tuple(widths), tuple(attention)
        for name, value in {"channels_in": channels_in, "blocks": blocks, "patch": patch}.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {value}; give a positive whole number.")
        if not widths or min(widths) < 1:
            raise ValueError(f"`widths` must hold at least one positive width, but is {widths}; use (64, 128).")
        if any(not 0 <= level < len(widths) for level in attention):
            raise ValueError(
                f"`attention` names levels from 0 to {len(widths) - 1}, but is {attention}; "
                "0 is the finest level and there are as many as `widths`."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must lie in [0, 1), but is {dropout}; use 0 for none.")
        if injection not in INJECTIONS:
            raise ValueError(f"`injection` {injection!r} is not one of {', '.join(INJECTIONS)}.")
        if min(vector, image, sequence) < 0:
            raise ValueError(f"`vector`, `image` and `sequence` must be 0 or more, but are {vector}, {image} and {sequence}.")
        if sequence and not attention:
            raise ValueError("a sequence is read by the levels of `attention`, but there are none; use the coarsest, (1,).")
        if rank not in CONVOLUTION:
            raise ValueError(f"`rank` must be 1, 2 or 3, but is {rank}; count the axes of a sample besides the channels.")
        self.rank = rank
        self.channels_in, self.patch, self.classes = channels_in, patch, classes
        self.vector, self.image, self.sequence = vector, image, sequence
        by_channels = injection == "channels"
        self.conditioning = None if by_channels else Conditioning(embedding, classes, vector)
        self.beside = InputChannels(image, by_channels, classes, vector)

        def stage(width_in: int, level: int) -> Stage:
            sizes = [width_in, *[widths[level]] * (blocks - 1)]
            here = level in attention
            return Stage(Block(w, widths[level], embedding, dropout, here, injection, sequence, rank) for w in sizes)

        levels = range(len(widths))
        self.stem = CONVOLUTION[rank]((channels_in + self.beside.count) * patch**rank, widths[0], 3, padding=1)
        self.down = nn.ModuleList(stage(widths[max(0, i - 1)], i) for i in levels)
        self.up = nn.ModuleList(stage(widths[i] + widths[i + 1], i) for i in levels[:-1])
        self.norm = norm(widths[0])
        self.head = zero(CONVOLUTION[rank](widths[0], channels_in * (1 + learned_variance) * patch**rank, 3, padding=1))
        self.to(memory_format=LAYOUT[rank])  # type: ignore[call-overload]

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | Condition | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: (B, channels_in, H, W) of about unit variance; (B, channels_in, L) or (B, channels_in, D, H, W) by `rank`.
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 classes, -1 for the null class; or a `Condition` of the parts that the network was built for.
                A part left out, or None, means its null for all.

        Returns:
            The shape of x, zeros before training; twice the channels with a learned variance.

        Raises:
            ValueError: a shape or a class is wrong.
        """
        check_batch(x, level, (self.channels_in, *[None] * self.rank))
        sides = x.shape[2:]
        given = check_condition(cond, len(x), self.classes, self.vector, self.image, self.sequence)
        vector = None if self.conditioning is None else self.conditioning(level, given)
        told = Told(vector, given.sequence, given.mask)
        x = self.beside(x, level, given)
        h = F.pad(x, [n for side in reversed(sides) for n in (0, -side % self.patch)])
        h = self.stem(fold(h, self.patch).contiguous(memory_format=LAYOUT[self.rank]))
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            if i:
                skips.append(h)
                h = POOL[self.rank](h, [min(2, side) for side in h.shape[2:]], ceil_mode=True)
            h = stage(h, told)
        for stage in list(self.up)[::-1]:
            skip = skips.pop()
            h = cut(double(h), skip.shape[2:])
            h = stage(torch.cat([h, skip], dim=1), told)
        h = unfold(self.head(F.silu(self.norm(h))), self.patch)
        return cut(h, sides).contiguous()
