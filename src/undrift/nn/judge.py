"""Small convolutional networks that name the class of a picture: the referee of a class-conditional model, and 000's.

Source: batch norm from Ioffe & Szegedy 2015; global average pooling from Lin et al. 2014.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Classifier(nn.Module):
    """Logits and features for (B, channels_in, H, W) pictures in [-1, 1], H and W of at least 8.

    Four convolutions, each with batch norm and ReLU; the first, third and fourth work on half the resolution of what
    came before. The mean over pixels at the end lets any size through.

    Args:
        channels_in: Channels of the picture, at least 1.
        classes: Number of classes, at least 2.
        width: Features of the first stage; the next have 2, 2 and 4 times as many.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, channels_in: int, classes: int, width: int = 32) -> None:
        super().__init__()
        if channels_in < 1 or classes < 2 or width < 1:
            raise ValueError(
                f"`channels_in` and `width` must be at least 1 and `classes` at least 2, but are "
                f"{channels_in}, {width} and {classes}; count the picture's channels and the labels."
            )
        self.channels_in = channels_in
        sizes = [channels_in, width, 2 * width, 2 * width, 4 * width]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3 if i else 5, 1 if i else 2, 1 if i else 2, bias=False) for i, (a, b) in enumerate(pairwise(sizes))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in sizes[1:])
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(4 * width, classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) pictures in [-1, 1] to (B, 4 width) features, one row per picture.

        Raises:
            ValueError: `x` has another number of axes or channels, or is smaller than 8 x 8.
        """
        if x.ndim != 4 or x.shape[1] != self.channels_in or min(x.shape[2:]) < 8:
            raise ValueError(
                f"`x` must have shape (B, {self.channels_in}, H, W) with H, W of at least 8, but has "
                f"{tuple(x.shape)}; give pictures like those the classifier was built for."
            )
        h = x.contiguous(memory_format=torch.channels_last)
        for i, (convolution, normalise) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if i > 1:
                h = F.max_pool2d(h, 2)
            h = F.relu(normalise(convolution(h)))
        return h.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) pictures in [-1, 1] to (B, classes) logits."""
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits


class PlainClassifier(nn.Module):
    """000's digit classifier: two convolutions, each halved by a max-pool, and two linear layers, with ReLU.

    Logits for (B, channels_in, *size) pictures of one size. 421,642 parameters for MNIST. 000 trains it with Adam at 1e-3 for
    10 epochs, to 99 % of the test digits.

    Args:
        channels_in: Channels of the picture, at least 1.
        classes: Number of classes, at least 2.
        size: Sides H and W of the picture, at least 4.
        widths: Features of the two convolutions.
        hidden: Size of the layer between them and the logits.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        channels_in: int,
        classes: int,
        size: tuple[int, int] = (28, 28),
        widths: tuple[int, int] = (32, 64),
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if min(channels_in, hidden, *widths) < 1 or classes < 2 or min(size) < 4 or (len(size), len(widths)) != (2, 2):
            raise ValueError(
                f"`channels_in`, `hidden` and the two `widths` must be at least 1, `classes` at least 2 and the two sides of "
                f"`size` at least 4, but are {channels_in}, {hidden}, {tuple(widths)}, {classes} and {tuple(size)}."
            )
        self.shape = (channels_in, *size)
        self.conv1 = nn.Conv2d(channels_in, widths[0], 3, padding=1)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 3, padding=1)
        self.hidden = nn.Linear(widths[1] * (size[0] // 4) * (size[1] // 4), hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) pictures in [-1, 1] to (B, classes) logits.

        Raises:
            ValueError: `x` is of another size than the network was built for.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"`x` must have shape (B, {', '.join(map(str, self.shape))}), but has {tuple(x.shape)}; "
                "give pictures like those the classifier was built for."
            )
        for convolution in (self.conv1, self.conv2):
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        logits: Tensor = self.head(F.relu(self.hidden(x.flatten(1))))
        return logits
