"""What a network is told besides the picture: the noise level and the class.

A network sees the time only through its `level` = log(sigma / alpha) / 4, a bounded number that means the
same under every process (EDM calls it c_noise). Sines and cosines of the level at geometrically spaced
frequencies turn one number into many smooth features; two linear layers mix them. A class is a learned
vector added to that. "No condition" is a class of its own with its own learned vector, the null class, so
one network holds the conditional and the unconditional model and guidance can subtract one from the other.

Source: sinusoids from Vaswani et al. 2017 (section 3.5) and Ho et al. 2020 (appendix B); c_noise from
Karras et al. 2022 (table 1); the null class from Ho & Salimans 2022 (algorithm 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Sinusoids(nn.Module):
    """Features cos(f level), sin(f level) of a scalar; `width // 2` frequencies f from 0.5 to 50 radians.

    The level spans about [-2.5, 2.5]: the slowest frequency tells its two ends apart, and the fastest still
    varies little over the 0.02 that separates neighbouring steps of a fine sampler.

    Args:
        width: Number of features, even, at least 4.

    Raises:
        ValueError: `width` is odd or below 4.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"`width` of the sinusoids must be even and at least 4, but is {width}; use 64.")
        self.register_buffer("frequencies", 0.5 * 100 ** torch.linspace(0, 1, width // 2), persistent=False)

    def forward(self, level: Tensor) -> Tensor:
        """Map (B,) levels to (B, width) features in [-1, 1]."""
        angle = level[:, None] * self.frequencies.to(level)
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class Conditioning(nn.Module):
    """Turn (level, cond) into the vector (B, width) that every block of a network reads.

        c = SiLU(W2 SiLU(W1 sinusoids(level)) + class_table[cond + 1])

    Row 0 of the class table is the null class, so that -1 selects it.

    Args:
        width: Size of the vector, at least 1.
        classes: Number of classes; 0 builds a network without a class table.

    Raises:
        ValueError: `width` is below 1 or `classes` is negative.
    """

    def __init__(self, width: int, classes: int = 0) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"`width` of the conditioning must be at least 1, but is {width}; use 256.")
        if classes < 0:
            raise ValueError(f"`classes` must be 0 (no classes) or more, but is {classes}; count the labels.")
        self.classes = classes
        self.embed = nn.Sequential(Sinusoids(64), nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.table = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, level: Tensor, cond: Tensor | None = None) -> Tensor:
        """Embed a batch.

        Args:
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 in [0, classes), or -1 for the null class; None means the null class for all.

        Returns:
            (B, width).

        Raises:
            ValueError: a shape, a kind or a class is wrong, or the network was built without classes.
        """
        if level.ndim != 1:
            raise ValueError(f"`level` must have shape (B,), but has {tuple(level.shape)}; give one level per sample.")
        out: Tensor = self.embed(level)
        if cond is not None:
            self._check(cond, len(level))
        if self.table is not None:
            row = torch.zeros_like(level, dtype=torch.int64) if cond is None else cond + 1
            out = out + self.table(row)
        return nn.functional.silu(out)

    def _check(self, cond: Tensor, batch: int) -> None:
        if self.table is None:
            raise ValueError(
                "`cond` was given to a network built with `classes` = 0; pass None, or build it with the class count."
            )
        if cond.shape != (batch,) or cond.dtype != torch.int64:
            raise ValueError(
                f"`cond` must be int64 of shape ({batch},), but is {cond.dtype} of shape "
                f"{tuple(cond.shape)}; give one class per sample, -1 for none."
            )
        # On an accelerator reading the values would wait for the device; there the table lookup itself fails.
        if cond.device.type == "cpu" and batch:
            low, high = int(cond.min()), int(cond.max())
            if low < -1 or high >= self.classes:
                raise ValueError(
                    f"`cond` must lie in [-1, {self.classes}), but spans {low} to {high}; "
                    "number the classes from 0 and use -1 for no condition."
                )


def check_batch(x: Tensor, level: Tensor, shape: tuple[int | None, ...]) -> None:
    """Check at a network's door that `x` is (B, *shape), where None stands for any size of at least 1.

    Raises:
        ValueError: `x` has another shape, or `level` is not one number per sample.
    """
    fits = x.ndim == len(shape) + 1 and all(
        have >= 1 if want is None else have == want for have, want in zip(x.shape[1:], shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(["B", *("any" if want is None else str(want) for want in shape)])
        raise ValueError(
            f"`x` must have shape ({wanted}), but has {tuple(x.shape)}; give the network the shape it was built for."
        )
    if level.shape != x.shape[:1]:
        raise ValueError(
            f"`level` must have shape ({len(x)},) to match `x`, but has {tuple(level.shape)}; give one level per sample."
        )


def zero(layer: nn.Module) -> nn.Module:
    """Set all parameters of a layer to zero and return it: the branch it ends starts as "add nothing"."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
