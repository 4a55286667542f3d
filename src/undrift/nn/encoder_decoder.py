"""000's U-Net: an encoder and a decoder of plain convolutions, told everything as input channels.

000's text and its code differ. The text says 16 layers and residual connections. The code has 11 (transposed) convolutions, its
connections across are skips that are concatenated, and nothing is added to anything. This is the code's network: for MNIST, with
one channel of picture, one of time and ten of the one-hot class, the same 2,364,289 parameters, and the same answers at 28 x 28.
There are three differences. The channel of time holds our level, log(sigma/alpha)/4, where 000's holds t. The picture is scaled
to unit variance before it comes in, as for all our networks. And any size goes through, by the rule behind the paddings that
000's code writes out for 28: an odd side is padded by one before it is halved, and the way up aims at the sides of the skip.

Source: 000 section 5, after a tutorial that it names in section 4; Ronneberger et al. 2015 (the U).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.condition import Condition
from undrift.nn.arguments import remembered
from undrift.nn.channels import InputChannels
from undrift.nn.embed import check_batch, check_condition


@remembered
class EncoderDecoder(nn.Module):
    """000's U-Net on (B, channels_in, H, W), for any H, W of at least 1.

    Args:
        channels_in: Channels of the picture, at least 1 (the output has as many).
        widths: Features at each level, finest first; each level has half the resolution of the one before.
        classes: Number of classes, each an input channel; 0 for an unconditional network.
        vector, image: Sizes of the other parts of a `Condition` that are channels, 0 for none; see `InputChannels`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, ...] = (32, 64, 128, 256, 256),
        classes: int = 0,
        vector: int = 0,
        image: int = 0,
    ) -> None:
        super().__init__()
        if channels_in < 1 or not widths or min(widths) < 1 or min(classes, vector, image) < 0:
            raise ValueError(
                f"`channels_in` and `widths` must be at least 1, `classes`, `vector` and `image` at least 0, but are "
                f"{channels_in}, {tuple(widths)}, {classes}, {vector} and {image}; use widths (32, 64, 128, 256, 256)."
            )
        self.channels_in, self.classes, self.vector, self.image = channels_in, classes, vector, image
        self.beside = InputChannels(image, True, classes, vector)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise([channels_in + self.beside.count, *widths]))
        handed = [*(2 * width for width in widths[:-1]), widths[-1]]  # what came up and the skip; at the bottom no skip
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(handed[i], widths[i - 1], 3, stride=2, padding=1) for i in range(len(widths) - 1, 0, -1)
        )
        self.last = nn.Conv2d(handed[0], widths[0], 3, padding=1)
        self.head = nn.Conv2d(widths[0], channels_in, 3, padding=1)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor | Condition | None = None) -> Tensor:
        """Apply the network.

        Args:
            x: (B, channels_in, H, W) of about unit variance.
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 classes, -1 for the null class (no channel is 1); or a `Condition` of the parts that the network was
                built for. A part left out, or None, means its null for all.

        Returns:
            The shape of x.

        Raises:
            ValueError: a shape or a class is wrong.
        """
        check_batch(x, level, (self.channels_in, None, None))
        h = self.beside(x, level, check_condition(cond, x.shape[0], self.classes, self.vector, self.image, 0))
        skips: list[Tensor] = []
        for i, convolution in enumerate(self.down):
            if i:
                h = F.max_pool2d(h, 2, padding=(h.shape[2] % 2, h.shape[3] % 2))
            h = F.logsigmoid(convolution(h))
            skips.append(h)
        skips.pop()
        for convolution in self.up:
            skip = skips.pop()
            h = torch.cat([F.logsigmoid(convolution(h, output_size=skip.shape[2:])), skip], dim=1)
        out: Tensor = self.head(F.logsigmoid(self.last(h)))
        return out
