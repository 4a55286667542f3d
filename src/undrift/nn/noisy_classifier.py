"""Networks that name the class of a noisy sample: `net(x, level) -> logits`, for `NoisyClassifier`.

Source: the downward half of the U-Net with a pool at its end is ADM's classifier (Dhariwal & Nichol 2021, section 4 and
appendix H; theirs pools by attention).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.nn.block import Block, Told
from undrift.nn.embed import Conditioning, check_batch
from undrift.nn.inject import norm
from undrift.nn.mlp import MLPBlock


class UNetClassifier(nn.Module):
    """The downward half of a U-Net, averaged over pixels; for (B, channels_in, H, W) with any H, W of at least 1.

    Args:
        channels_in: Channels of the picture, at least 1.
        classes: Number of classes, at least 2.
        widths: Features at each level, finest first; each level has half the resolution of the one before.
        patch: Side of the square of pixels that is folded into channels first; 1 folds nothing.
        embedding: Size of the vector that carries the noise level.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, channels_in: int, classes: int, widths: tuple[int, ...] = (24, 48, 96), patch: int = 1, embedding: int = 128
    ) -> None:
        super().__init__()
        if min(channels_in, patch, embedding, *widths) < 1 or not widths or classes < 2:
            raise ValueError(
                f"`channels_in`, `patch`, `embedding` and `widths` must be at least 1 and `classes` at least 2, but are "
                f"{channels_in}, {patch}, {embedding}, {tuple(widths)} and {classes}."
            )
        self.channels_in, self.patch = channels_in, patch
        self.conditioning = Conditioning(embedding)
        self.stem = nn.Conv2d(channels_in * patch**2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            Block(a, b, embedding, 0.0, False, "adaptive", 0) for a, b in zip((widths[0], *widths[:-1]), widths, strict=True)
        )
        self.norm, self.head = norm(widths[-1]), nn.Linear(widths[-1], classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) of about unit variance and (B,) levels log(sigma/alpha)/4 to (B, classes)."""
        check_batch(x, level, (self.channels_in, None, None))
        told = Told(self.conditioning(level), None, None)
        h = F.pad(x, (0, -x.shape[3] % self.patch, 0, -x.shape[2] % self.patch))
        h = self.stem(F.pixel_unshuffle(h, self.patch).contiguous(memory_format=torch.channels_last))
        for i, block in enumerate(self.blocks):
            h = block(F.avg_pool2d(h, 2, ceil_mode=True) if i else h, told)
        out: Tensor = self.head(F.silu(self.norm(h)).mean((2, 3)))
        return out


class MLPClassifier(nn.Module):
    """A residual multilayer perceptron for samples of any fixed shape.

    Args:
        shape: Of one sample.
        classes: Number of classes, at least 2.
        width: Hidden size, at least 1.
        depth: Number of residual blocks, at least 1.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if min(width, depth, *self.shape) < 1 or classes < 2:
            raise ValueError(
                f"`width`, `depth` and the sizes of `shape` must be at least 1 and `classes` at least 2, but are "
                f"{width}, {depth}, {self.shape} and {classes}."
            )
        self.conditioning = Conditioning(width)
        self.first = nn.Linear(math.prod(self.shape), width)
        self.blocks = nn.ModuleList(MLPBlock(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map (B, *shape) of about unit variance and (B,) levels log(sigma/alpha)/4 to (B, classes)."""
        check_batch(x, level, self.shape)
        c, h = self.conditioning(level), self.first(x.reshape(x.shape[0], -1))
        for block in self.blocks:
            h = block(h, c)
        out: Tensor = self.head(F.silu(self.norm(h)))
        return out
