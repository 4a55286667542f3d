"""NCSN's RefineNet, as 001 trains it: a way down whose later stages see further by dilation, and a way up that refines.

Four stages go down. Only the first halves the picture; the next three dilate their convolutions by 2, 4 and 8 instead, so that
the map stays as large while each feature sees more of it. The way up has a `Refine` block for each stage: it adapts what came
from below and the stage's own output, fuses the two, pools in a chain to look around, and adapts again. Every norm is
conditional instance norm++ (`inject.Instance`), with gains of its own for each noise level.

**Levels.** The papers learn one row of gains for each of ten noise levels. So does this network, and it stays what a network of
ours is, a function of the level: the rows stand at a ladder of levels, and between two of them gains are interpolated linearly in
log(sigma/alpha); beyond the ends they are those of the end. On that ladder it is the papers' network, and every other process
and sampler can use it too. A class has a row as well, added to that of the level (the papers have no classes); -1 has its own.

**Text and code.** 001's text has no more than "U-Net architectures". Song & Ermon (2019, appendix A) have a convolution of the
picture first, two residual blocks in each of four stages (128 features, then 256), dilations 2 and 4, and fuse by bilinear
upsampling. This is the network of 001's code, which differs in all of that: no convolution first, so the first blocks have as
many features as the picture has channels; 128 to 1,024 features; dilations 2, 4 and 8. Of its 211,019,999 parameters for MNIST
nothing ever reads 57,863,168, the second input of the deepest `Refine` block, which has one; they are left out here, and
153,156,831 remain. Variances are divided by n here and by n - 1 there, which at one size of picture the gains make up for.

**A fault of 001's.** Without a convolution first, all that the rest sees of a picture of one channel is normed, so its mean, the
brightness, is never seen, and Langevin dynamics lets it walk at random (docs/networks.md has figures). And of a unit of one
channel the first bias and the gains alpha do nothing. Pictures of several channels keep the differences between their means.

Source: Lin et al. 2017 (RefineNet), Song & Ermon 2019 (appendix A), 001's code.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.condition import Condition
from undrift.nn.arguments import remembered
from undrift.nn.embed import check_batch, check_condition
from undrift.nn.inject import Instance


class Norm(nn.Module):
    """Conditional instance norm++ of (B, width, H, W): the gains gamma, beta and alpha are `told` (B, rows) times a table."""

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.norm, self.table = Instance(width), nn.Parameter(torch.zeros(rows, 3 * width))

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        return self.norm(h, (told @ self.table)[:, :, None, None])


class Unit(nn.Module):
    """Norm, ELU, convolution of side 3, and again; the first convolution may stride or dilate. If it does neither, x is added."""

    def __init__(self, width_in: int, width: int, rows: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.residual = stride == dilation == 1
        self.norm1, self.norm2 = Norm(width_in, rows), Norm(width, rows)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Map (B, width_in, H, W) to (B, width, H, W), or half of H and W, rounded up."""
        h = self.conv1(F.elu(self.norm1(x, told)))
        h = self.conv2(F.elu(self.norm2(h, told)))
        return x + h if self.residual else h


class Units(nn.ModuleList):
    """One after the other."""

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Map (B, width_in, H, W) as the units do."""
        for unit in self:
            h = unit(h, told)
        return h


class Adapt(nn.Module):
    """A convolution of side 1 to other features, and two residual units."""

    def __init__(self, width_in: int, width: int, rows: int) -> None:
        super().__init__()
        self.conv, self.units = nn.Conv2d(width_in, width, 1), Units(Unit(width, width, rows) for _ in range(2))

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Map (B, width_in, H, W) to (B, width, H, W)."""
        out: Tensor = self.units(self.conv(h), told)
        return out


class Pool(nn.Module):
    """Norm, mean over 5 x 5 pixels, norm, convolution: a link of the chain."""

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.conv = Norm(width, rows), Norm(width, rows), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        out: Tensor = self.conv(self.norm2(F.avg_pool2d(self.norm1(h, told), 5, 1, 2), told))
        return out


class Refine(nn.Module):
    """Adapt each input, fuse them if there are several, pool in a chain of two, and a residual unit at the end."""

    def __init__(self, widths_in: tuple[int, ...], width: int, rows: int) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(Adapt(width_in, width, rows) for width_in in widths_in)
        several = widths_in if len(widths_in) > 1 else ()
        self.norms = nn.ModuleList(Norm(width, rows) for _ in several)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in several)
        self.pools = nn.ModuleList(Pool(width, rows) for _ in range(2))
        self.last = Unit(width, width, rows)

    def forward(self, inputs: list[Tensor], told: Tensor) -> Tensor:
        """Map maps (B, width_in, H, W) of one size to (B, width, H, W)."""
        parts = [adapt(h, told) for adapt, h in zip(self.adapt, inputs, strict=True)]
        if len(parts) > 1:
            parts = [conv(norm(h, told)) for conv, norm, h in zip(self.convs, self.norms, parts, strict=True)]
        h = link = F.elu(torch.stack(parts).sum(0))
        for pool in self.pools:
            link = pool(link, told)
            h = h + link
        out: Tensor = self.last(h, told)
        return out


@remembered
class RefineNet(nn.Module):
    """RefineNet with conditional instance norm++ on (B, channels_in, H, W), for any H, W of at least 1.

    Args:
        channels_in: Channels of the picture, at least 1 (the output has as many).
        widths: Features of the stages; one stage more than there are `dilations`.
        dilations: Of the stages after the first.
        levels: Rows of gains for the noise level, at least 2.
        sigma_min, sigma_max: The noise levels sigma/alpha of the first and the last of them, in model space; the others
            lie evenly in the logarithm, as those of the process `SMLD(levels, sigma_min, sigma_max)` do.
        classes: Number of classes; 0 for an unconditional network.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...] = (128, 256, 512, 1024),
        dilations: tuple[int, ...] = (2, 4, 8),
        levels: int = 10,
        sigma_min: float = 0.01,
        sigma_max: float = 1.0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        widths, dilations = tuple(widths), tuple(dilations)
        if min(channels_in, *widths, *dilations) < 1 or len(widths) != len(dilations) + 1 or classes < 0:
            raise ValueError(
                f"`channels_in`, `widths` and `dilations` must be at least 1, `classes` at least 0 and there is one width more "
                f"than dilations, but they are {channels_in}, {widths}, {dilations} and {classes}."
            )
        if levels < 2 or not 0 < sigma_min < sigma_max < math.inf:
            raise ValueError(
                f"`levels` must be at least 2 and 0 < sigma_min < sigma_max, but they are {levels}, {sigma_min} and {sigma_max}; "
                "take those of the process."
            )
        self.channels_in, self.levels, self.classes = channels_in, levels, classes
        self.low, self.high = math.log(sigma_min) / 4, math.log(sigma_max) / 4
        rows = levels + (classes + 1 if classes else 0)

        def stage(width_in: int, width: int, stride: int, dilation: int) -> Units:
            kept = [Unit(width_in, width_in, rows) for _ in range(2)]
            return Units([*kept, Unit(width_in, width, rows, stride, dilation)])

        self.down = nn.ModuleList(
            stage(a, b, 1 if i else 2, dilation)
            for i, ((a, b), dilation) in enumerate(zip(pairwise([channels_in, *widths]), (1, *dilations), strict=True))
        )
        self.up = nn.ModuleList(Refine((w, *widths[i + 1 : i + 2]), w, rows) for i, w in enumerate(widths))
        self.norm = Norm(widths[0], rows)
        self.grow = nn.ConvTranspose2d(widths[0], widths[0], 3, stride=2, padding=1)
        self.head = Adapt(widths[0], channels_in, rows)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | Condition | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: (B, channels_in, H, W) of about unit variance.
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 classes, -1 for the null class; or a `Condition` of `label`; None means the null for all.

        Returns:
            The shape of x.

        Raises:
            ValueError: a shape or a class is wrong.
        """
        check_batch(x, level, (self.channels_in, None, None))
        told = self.told(level, check_condition(cond, x.shape[0], self.classes, 0, 0, 0))
        maps: list[Tensor] = []
        for stage in self.down:
            maps.append(stage(maps[-1] if maps else x, told))
        inputs: list[Tensor] = []
        for refine, own in zip(reversed(list(self.up)), reversed(maps), strict=True):
            inputs = [refine([own, *inputs], told)]
        h = self.grow(self.norm(inputs[0], told), output_size=x.shape[2:])
        out: Tensor = self.head(h, told)
        return out

    def told(self, level: Tensor, cond: Condition) -> Tensor:
        """The share of each row of gains, (B, rows): those of the levels sum to 1, at most two of them are not 0."""
        place = ((level - self.low) / (self.high - self.low) * (self.levels - 1)).clamp(0, self.levels - 1)
        shares = (1 - (place[:, None] - torch.arange(self.levels, device=level.device)).abs()).clamp(min=0)
        if not self.classes:
            return shares
        label = torch.full((level.shape[0],), -1, device=level.device) if cond.label is None else cond.label
        return torch.cat([shares, F.one_hot(label + 1, self.classes + 1).to(shares)], dim=1)
