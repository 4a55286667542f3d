"""Random views of a picture in training: mirrored, or cut out a little differently. Each has an address (`noise`).

Which view step k shows of its j-th example is a function of the run's seed, k and j alone, so a run that was killed shows what
it would have shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from undrift.error import DataError, nearest
from undrift.noise import Noise

__all__ = ["Augment", "Flip"]

Flip = Literal["horizontal", "vertical", "both"]


@dataclass(frozen=True)
class Augment:
    """How a training step may see a picture (B, C, H + margin, W + margin): as (B, C, H, W).

    Args:
        flip: Mirror left and right, top and bottom, or either, each with probability 1/2; None for never.
        margin: Pixels by which what is stored is taller and wider than what is seen. A training step sees a window at a place
            drawn evenly, everything else (`noise` None) the one in the middle.

    Raises:
        DataError: an unknown `flip`, a negative margin.
    """

    flip: Flip | None = None
    margin: int = 0

    def __post_init__(self) -> None:
        if self.flip is not None and self.flip not in get_args(Flip):
            raise DataError(f'data.flip "{self.flip}" is unknown{nearest(self.flip, ("true", "false", *get_args(Flip)))}')
        if isinstance(self.margin, bool) or not isinstance(self.margin, int) or self.margin < 0:
            raise DataError(f"data.random_crop={self.margin}: give a number of pixels from 0 up")

    @classmethod
    def of(cls, flip: object, random_crop: int) -> Augment | None:
        """From the options of a recipe: true is "horizontal"; None where nothing is random."""
        given = cls("horizontal" if flip is True else None if flip in (False, None) else flip, random_crop)  # type: ignore[arg-type]
        return None if given == cls() else given

    def __call__(self, x: Tensor, noise: Noise | None) -> Tensor:
        """Map (B, C, H + margin, W + margin) to (B, C, H, W); without noise to the middle, as it is."""
        height, width = x.shape[2] - self.margin, x.shape[3] - self.margin
        if noise is None:
            half = self.margin // 2
            return x[:, :, half : half + height, half : half + width]
        heads = noise.fold("flip").uniform((len(x), 2)) < 0.5
        for axis, (way, toss) in enumerate(zip(("vertical", "horizontal"), heads.T, strict=True), 2):
            if self.flip in (way, "both"):
                x = torch.where(toss[:, None, None, None], x.flip(axis), x)
        if not self.margin:
            return x
        places = (noise.fold("window").uniform((len(x), 2)) * (self.margin + 1)).long().tolist()
        return torch.stack([one[:, i : i + height, j : j + width] for one, (i, j) in zip(x, places, strict=True)])
