"""Conditions as channels beside the noisy picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undrift.condition import Condition


class InputChannels(nn.Module):
    """Extra input channels, constant over the picture unless they are a picture themselves; it has no parameters.

    An image condition (004: colourisation, super-resolution) comes with one channel that is 1 where it is known and 0 where it
    is NaN, so that black and unknown differ. One that is smaller than the input is enlarged to its size by bilinear
    interpolation (pixel centres aligned to pixel areas; next to an unknown pixel it is unknown).

    With `told` (000's way) the noise level is a channel, the class is one-hot (all zero: not known), and a vector is K channels
    and one that says whether it is known.

    Args:
        image: Channels C' of the image condition, 0 for none.
        told: Whether level, class and vector are channels.
        classes, vector: As in `Conditioning`; used with `told`.
    """

    def __init__(self, image: int = 0, told: bool = False, classes: int = 0, vector: int = 0) -> None:
        super().__init__()
        self.image, self.told, self.classes, self.vector = image, told, classes, vector
        self.count = (image + 1 if image else 0) + told * (1 + classes + (vector + 1 if vector else 0))

    def forward(self, x: Tensor, level: Tensor, cond: Condition) -> Tensor:
        """Map (B, C, H, W) to (B, C + count, H, W).

        Raises:
            ValueError: an image that is larger than the input.
        """
        columns: list[Tensor] = []
        if self.told:
            columns.append(level[:, None])
            if self.classes:
                label = torch.full((x.shape[0],), -1, device=x.device) if cond.label is None else cond.label
                columns.append(F.one_hot(label + 1, self.classes + 1)[:, 1:].to(x))
            if self.vector:
                vector = x.new_full((x.shape[0], self.vector), torch.nan) if cond.vector is None else cond.vector.to(x)
                known = ~vector.isnan().any(1, keepdim=True)
                columns += [torch.where(known, vector, 0), known.to(x)]
        sides = x.shape[2:]
        parts = [x, *(c.view(*c.shape, *[1] * len(sides)).expand(-1, -1, *sides) for c in columns)]
        if self.image:
            picture = (
                x.new_full((x.shape[0], self.image, *x.shape[2:]), torch.nan) if cond.image is None else self._fit(cond.image, x)
            )
            known = ~picture.isnan().any(1, keepdim=True)
            parts += [torch.where(known, picture, 0), known.to(x)]
        return torch.cat(parts, 1) if self.count else x

    @staticmethod
    def _fit(image: Tensor, x: Tensor) -> Tensor:
        if image.shape[2:] == x.shape[2:]:
            return image.to(x)
        if image.shape[2] > x.shape[2] or image.shape[3] > x.shape[3]:
            raise ValueError(
                f"the image condition is {tuple(image.shape[2:])}, larger than the input {tuple(x.shape[2:])}; "
                "shrink it, which loses what it knows in a way that only you can choose."
            )
        return F.interpolate(image.to(x), x.shape[2:], mode="bilinear", align_corners=False)
