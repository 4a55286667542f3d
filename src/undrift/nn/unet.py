"""A U-Net for pictures of any size.

The picture is halved level by level while the features widen, then doubled back; at each level the way up is
handed what the way down saw at that resolution (the skip). Sizes need not divide: halving rounds up, and
doubling crops to the skip it meets. Each residual block reads the noise level and the class through a scale
and shift after its second normalisation. Self-attention, which lets distant pixels talk, is quadratic in the
number of pixels and so belongs to the coarse levels.

Where the speed comes from on a CPU: `patch=2` folds 2x2 pixels into channels, so that nothing runs at full
resolution; wide layers on small maps keep the arithmetic units busy; channels-last memory spares the
reordering.

Source: Ronneberger et al. 2015 (the U), Ho et al. 2020 (residual blocks with time), Dhariwal & Nichol 2021
(section 3: adaptive group norm, attention at low resolution), Karras et al. 2022 (scaling outside the
network; see `denoiser`), Shi et al. 2016 (pixel shuffle).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.nn.embed import Conditioning, check_batch, zero


def norm(width: int, affine: bool = True) -> nn.GroupNorm:
    """Group norm with the most groups that divide `width`, at most 32, of 4 channels or more where it can."""
    groups = max(g for g in range(1, min(32, max(1, width // 4)) + 1) if width % g == 0)
    return nn.GroupNorm(groups, width, affine=affine)


class Attention(nn.Module):
    """Self-attention over the pixels of a (B, width, H, W) map, added to it; starts as the identity.

    Cost: O((H W)^2 width) a sample. Heads have 32 channels or more.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(h for h in range(max(1, width // 32), 0, -1) if width % h == 0)
        self.norm, self.qkv, self.out = (
            norm(width),
            nn.Conv2d(width, 3 * width, 1),
            zero(nn.Conv2d(width, width, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        b, width, height, w = x.shape
        tokens = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(b, height * w, 3, self.heads, -1)
        q, k, v = tokens.permute(2, 0, 3, 1, 4)  # each (B, heads, H W, width / heads)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # (B, H W, heads, width / heads)
        out: Tensor = x + self.out(mixed.reshape(b, height, w, width).permute(0, 3, 1, 2))
        return out


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, the second after a norm that the condition scales and shifts.

    x W + conv2(SiLU(scale(c) norm(conv1(SiLU(norm(x)))) + shift(c)))         W = 1 where the widths agree
    """

    def __init__(self, width_in: int, width: int, embedding: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(width_in), nn.Conv2d(width_in, width, 3, padding=1)
        self.norm2, self.conv2 = norm(width, affine=False), zero(nn.Conv2d(width, width, 3, padding=1))
        self.modulation, self.dropout = nn.Linear(embedding, 2 * width), nn.Dropout(dropout)
        self.skip = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)
        self.attention = Attention(width) if attention else nn.Identity()

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Map (B, width_in, H, W) and the condition (B, embedding) to (B, width, H, W)."""
        scale, shift = self.modulation(c)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        h = self.conv2(self.dropout(F.silu(h)))
        out: Tensor = self.attention(self.skip(x) + h)
        return out


class Stage(nn.ModuleList):
    """Blocks at one resolution, one after the other."""

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Map (B, width_in, H, W) and the condition (B, embedding) to (B, width, H, W)."""
        for block in self:
            h = block(h, c)
        return h


class UNet(nn.Module):
    """Noise-conditional U-Net on (B, channels_in, H, W) for any H, W of at least 1.

    Args:
        channels_in: Channels of the picture, at least 1 (the output has as many). widths: Features at each
        level, finest first; each level has half the resolution of the one before. blocks: Residual blocks at
        each level, on the way down and again on the way up. attention: Levels (0 is the finest) whose blocks
        end in self-attention. patch: Side of the square of pixels that is folded into channels before the
        finest level; 1 folds nothing. classes: Number of classes; 0 for an unconditional network. dropout:
        Probability in [0, 1) with which a feature is dropped inside each block, in training only. embedding:
        Size of the condition vector. learned_variance: Whether to put out twice the channels, the second half for
        the variance of the reverse step (see `HybridObjective`).

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
        self.channels_in, self.patch = channels_in, patch
        self.conditioning = Conditioning(embedding, classes)

        def stage(width_in: int, level: int) -> Stage:
            sizes = [width_in, *[widths[level]] * (blocks - 1)]
            return Stage(Block(w, widths[level], embedding, dropout, level in attention) for w in sizes)

        levels = range(len(widths))
        self.stem = nn.Conv2d(channels_in * patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(stage(widths[max(0, i - 1)], i) for i in levels)
        self.up = nn.ModuleList(stage(widths[i] + widths[i + 1], i) for i in levels[:-1])
        self.norm = norm(widths[0])
        self.head = zero(nn.Conv2d(widths[0], channels_in * (1 + learned_variance) * patch**2, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: (B, channels_in, H, W) of about unit variance.
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 classes, -1 for the null class; None means the null class for all.

        Returns:
            (B, channels_in, H, W), zeros before training; twice the channels with a learned variance.

        Raises:
            ValueError: a shape or a class is wrong.
        """
        check_batch(x, level, (self.channels_in, None, None))
        height, width = x.shape[-2:]
        c = self.conditioning(level, cond)
        h = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
        h = self.stem(F.pixel_unshuffle(h, self.patch).contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            if i:
                skips.append(h)
                h = F.avg_pool2d(h, 2, ceil_mode=True)
            h = stage(h, c)
        for stage in list(self.up)[::-1]:
            skip = skips.pop()
            h = F.interpolate(h, scale_factor=2)[..., : skip.shape[-2], : skip.shape[-1]]
            h = stage(torch.cat([h, skip], dim=1), c)
        h = F.pixel_shuffle(self.head(F.silu(self.norm(h))), self.patch)
        return h[..., :height, :width].contiguous()
