"""A small convolutional network that names the class of a picture: the referee of a class-conditional model.

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
