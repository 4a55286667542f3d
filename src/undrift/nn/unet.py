"""A U-Net for pictures of any size: of two axes, and likewise sequences of one and volumes of three.

The picture is halved level by level while the features widen, then doubled back; at each level the way up is
handed what the way down saw at that resolution (the skip). Sizes need not divide: halving rounds up, and
doubling crops to the skip it meets. Each residual block reads the noise level and the condition at its second
normalisation, in one of the ways of `inject`. Self-attention, which lets distant pixels talk, is quadratic in the
number of pixels and so belongs to the coarse levels; there a sequence, such as a text, is read as well.

There are two layouts. The "lean" one has a skip for each level, pools on the way down and repeats pixels on the way up. The
"ddpm" one is Ho et al.'s: a skip from every layer to a block of its own, halving and doubling by convolutions, two blocks in the
middle with attention in the first, and one head of attention. 001's networks are of that kind:

    DDPM    UNet(1, (32, 64), layout="ddpm", injection="addition", embedding=128, dropout=0.1, group=1)     917,889 parameters
    SDE     the same with features="fourier" and dropout=0.15                                              897,153

001's own counts, 949,889 and 897,217, have its table of sinusoids (1,000 x 32) and its 64 random frequencies in them, which are
not trained. `group=1` is its GroupNorm of 32 groups, and a fault: in a block of 32 features every channel is its own group,
whose norm takes away whatever was added to it, so that these blocks (five of the twelve) are never told the time. Ho et al.
have 128 features or more, and groups of four.

Where the speed comes from on a CPU: `patch=2` folds 2x2 pixels into channels, so that nothing runs at full
resolution; wide layers on small maps keep the arithmetic units busy; channels-last memory spares the
reordering.

Source: Ronneberger et al. 2015 (the U), Ho et al. 2020 (residual blocks with time), Dhariwal & Nichol 2021
(section 3: adaptive group norm, attention at low resolution), Karras et al. 2022 (scaling outside the
network; see `denoiser`), Shi et al. 2016 (pixel shuffle).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from undrift.argument import said
from undrift.condition import Condition
from undrift.nn.arguments import remembered
from undrift.nn.attend import CONVOLUTION
from undrift.nn.block import Block, Told
from undrift.nn.channels import InputChannels
from undrift.nn.embed import Conditioning, check_batch, check_condition, zero
from undrift.nn.fold import cut, double, fold, unfold
from undrift.nn.inject import INJECTIONS, norm

POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LAYOUT = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}  # the quickest for each rank


class Stage(nn.ModuleList):
    """Blocks at one resolution, one after the other."""

    recompute = False  # in training: keep only what goes in, and compute the rest again for the gradient

    def forward(self, h: Tensor, told: Told, take: list[Tensor] | None = None, leave: list[Tensor] | None = None) -> Tensor:
        """Map (B, width_in, H, W) and what is told to (B, width, H, W).

        `take`: skips of which each block reads the last beside what it is handed; `leave`: where each leaves what it puts out.
        """
        for block in self:
            x = h if take is None else torch.cat([h, take.pop()], dim=1)
            h = checkpoint(block, x, told, use_reentrant=False) if self.recompute and torch.is_grad_enabled() else block(x, told)
            if leave is not None:
                leave.append(h)
        return h


@remembered
class UNet(nn.Module):
    """Noise-conditional U-Net on (B, channels_in, H, W) for any H, W of at least 1; with `rank` on one or three such sides.

    Args:
        channels_in: Channels of the picture, at least 1 (the output has as many). widths: Features at each
        level, finest first; each level has half the resolution of the one before. blocks: Residual blocks at
        each level, on the way down and again on the way up; one number for all levels, or one for each, the
        last also for all that are coarser. attention: Levels (0 is the finest) whose blocks
        end in self-attention. patch: Side of the square of pixels that is folded into channels before the
        finest level; 1 folds nothing. classes: Number of classes; 0 for an unconditional network. dropout:
        Probability in [0, 1) with which a feature is dropped inside each block, in training only. embedding:
        Size of the vector that carries level and condition to the blocks. learned_variance: Whether to put out twice
        the channels, the second half for the variance of the reverse step (see `HybridObjective`). injection: How blocks
        are told level, class and vector: "adaptive", "addition", "instance" or "channels"; see `inject`. vector, image,
        sequence: Sizes of the other parts of a `Condition`, 0 for none: numbers K, channels C' of a picture beside the
        input, width C of the entries of a sequence, which is read by cross-attention on the levels of `attention`. rank: Axes
        of a sample besides the channels: 1 for sequences (C, L), 2 for pictures, 3 for volumes (C, D, H, W). layout: "lean" or
        "ddpm", see above; `blocks` counts the blocks on the way down, and "ddpm" has one more on each level of the way up.
        features: What becomes of the noise level: "sinusoids" (64, or `widths[0]` with "ddpm") and two linear layers, or
        "fourier", `embedding` Gaussian Fourier features and no layer (001). group: Fewest channels of a group of the norms, of
        which there are as many as divide the width, at most 32; with 1, "addition" tells nothing to a block of up to 32 features.
        merge: How the way up takes a skip, in the layout "lean": "concatenate" them, or "add" them, after a convolution of side 1 to
        its width, which is cheaper at the finest level, where the pixels are.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> net = UNet(1, widths=(16, 32), classes=10)
        >>> net(torch.randn(2, 1, 27, 9), torch.zeros(2), torch.tensor([7, -1])).shape
        torch.Size([2, 1, 27, 9])
    """

    outer = ("conditioning", "beside", "stem", "head")  # no matrices between hidden layers: see `undrift.training.muon`

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...] = (64, 128),
        blocks: int | tuple[int, ...] = 2,
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
        layout: Literal["lean", "ddpm"] = "lean",
        features: Literal["sinusoids", "fourier"] = "sinusoids",
        group: int = 4,
        merge: Literal["concatenate", "add"] = "concatenate",
    ) -> None:
        super().__init__()
        widths, attention = tuple(widths), tuple(attention)
        if not isinstance(channels_in, int):
            raise TypeError(
                f"`channels_in` is {said(channels_in)}: give the number of channels alone, such as 1 for data (1, 28, 28)."
            )
        counts = tuple(blocks) if isinstance(blocks, (tuple, list)) else (blocks,) * len(widths)
        if widths and not 0 < len(counts) <= len(widths):
            raise ValueError(
                f"`blocks` has {len(counts)} numbers for {len(widths)} levels; give one for each of `widths`, or one for all."
            )
        counts += counts[-1:] * (len(widths) - len(counts))
        for name, value in {"channels_in": channels_in, "blocks": min(counts, default=1), "patch": patch, "group": group}.items():
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
        if min(vector, image, sequence) < 0:
            raise ValueError(f"`vector`, `image` and `sequence` must be 0 or more, but are {vector}, {image} and {sequence}.")
        for name, given, known in (
            ("layout", layout, ("lean", "ddpm")),
            ("features", features, ("sinusoids", "fourier")),
            ("injection", injection, tuple(INJECTIONS)),
            ("merge", merge, ("concatenate", "add")),
        ):
            if given not in known:
                raise ValueError(f"`{name}` {given!r} is not one of {', '.join(known)}.")
        ddpm = layout == "ddpm"
        if ddpm and merge == "add":
            raise ValueError("`layout` 'ddpm' concatenates its skips; give `merge` 'concatenate' with it.")
        if sequence and not attention and not ddpm:
            raise ValueError("a sequence is read by the levels of `attention`, but there are none; use the coarsest, (1,).")
        if rank not in CONVOLUTION:
            raise ValueError(f"`rank` must be 1, 2 or 3, but is {rank}; count the axes of a sample besides the channels.")
        self.rank, self.layout = rank, layout
        self.channels_in, self.patch, self.classes = channels_in, patch, classes
        self.vector, self.image, self.sequence = vector, image, sequence
        by_channels = injection == "channels"
        sinusoids = 0 if features == "fourier" else widths[0] if ddpm else 64
        self.conditioning = None if by_channels else Conditioning(embedding, classes, vector, sinusoids)
        self.beside = InputChannels(image, by_channels, classes, vector)
        convolution = partial(CONVOLUTION[rank], kernel_size=3, padding=1)

        def block(width_in: int, level: int, attends: bool) -> Block:
            return Block(width_in, widths[level], embedding, dropout, attends, injection, sequence, rank, ddpm, group)

        def stage(level: int, *widths_in: int) -> Stage:
            return Stage(block(width_in, level, level in attention) for width_in in widths_in)

        levels, above, below = range(len(widths)), [widths[0], *widths], [*widths[1:], widths[-1]]
        self.stem = convolution((channels_in + self.beside.count) * patch**rank, widths[0])
        self.down = nn.ModuleList(stage(i, above[i], *[widths[i]] * (counts[i] - 1)) for i in levels)
        if ddpm:
            # On its way up level i takes the skips of its blocks, last first, and then that of what it began with.
            skips = [[*[widths[i]] * counts[i], above[i]] for i in levels]
            handed = [[below[i], *[widths[i]] * counts[i]] for i in levels]
            self.middle = Stage(block(widths[-1], levels[-1], attends) for attends in (True, False))
            self.up = nn.ModuleList(stage(i, *map(sum, zip(skips[i], handed[i], strict=True))) for i in levels)
            self.shrink = nn.ModuleList(convolution(w, w, stride=2) for w in widths[:-1])
            self.grow = nn.ModuleList(convolution(w, w) for w in widths[1:])
        else:
            adds = merge == "add"
            self.up = nn.ModuleList(
                stage(i, widths[i] if adds else widths[i] + below[i], *[widths[i]] * (counts[i] - 1)) for i in levels[:-1]
            )
            self.back = nn.ModuleList(CONVOLUTION[rank](below[i], widths[i], 1) for i in levels[:-1]) if adds else None
        self.norm = norm(widths[0], group=group)
        self.head = zero(convolution(widths[0], channels_in * (1 + learned_variance) * patch**rank))
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
        given = check_condition(cond, x.shape[0], self.classes, self.vector, self.image, self.sequence)
        vector = None if self.conditioning is None else self.conditioning(level, given)
        told = Told(vector, given.sequence, given.mask)
        x = self.beside(x, level, given)
        h = F.pad(x, [n for side in reversed(sides) for n in (0, -side % self.patch)])
        h = self.stem(fold(h, self.patch).contiguous(memory_format=LAYOUT[self.rank]))
        h = self._ddpm(h, told) if self.layout == "ddpm" else self._lean(h, told)
        h = unfold(self.head(F.silu(self.norm(h))), self.patch)
        return cut(h, sides).contiguous()

    def _lean(self, h: Tensor, told: Told) -> Tensor:
        """Down and up with one skip for each level."""
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            if i:
                skips.append(h)
                h = POOL[self.rank](h, [min(2, side) for side in h.shape[2:]], ceil_mode=True)
            h = stage(h, told)
        for i, stage in reversed(list(enumerate(self.up))):
            skip = skips.pop()
            if self.back is None:
                h = torch.cat([cut(double(h), skip.shape[2:]), skip], dim=1)
            else:
                h = (cut(double(self.back[i](h)), skip.shape[2:]) + skip) * math.sqrt(0.5)
            h = stage(h, told)
        return h

    def _ddpm(self, h: Tensor, told: Told) -> Tensor:
        """Down and up with a skip for each layer."""
        skips = [h]
        for i, stage in enumerate(self.down):
            if i:
                h = self.shrink[i - 1](h)
                skips.append(h)
            h = stage(h, told, leave=skips)
        h = self.middle(h, told)
        for i, stage in reversed(list(enumerate(self.up))):
            h = stage(h, told, take=skips)
            if i:
                h = self.grow[i - 1](cut(double(h), skips[-1].shape[2:]))
        return h
