"""What a network is told besides the picture: the noise level, the class and a vector.

A network sees the time only through its `level` = log(sigma / alpha) / 4, a bounded number that means the
same under every process (EDM calls it c_noise). Sines and cosines of the level at geometrically spaced
frequencies turn one number into many smooth features; two linear layers mix them. A class is a learned
vector added to that. "No condition" is a class of its own with its own learned vector, the null class, so
one network holds the conditional and the unconditional model and guidance can subtract one from the other.
A vector of numbers goes through two linear layers of its own, and has a learned null likewise.

Source: sinusoids from Vaswani et al. 2017 (section 3.5) and Ho et al. 2020 (appendix B); random frequencies from
Tancik et al. 2020 and Song et al. 2021 (appendix H.2), 001 and 004; c_noise from Karras et al. 2022 (table 1); the null
class from Ho & Salimans 2022 (algorithm 1).
"""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import torch
from torch import Tensor, nn

from undrift.condition import Condition, as_condition


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
        # On the CPU also where a network is built without memory: on "meta" the two would load torch's compiler, which takes seconds.
        self.register_buffer("frequencies", 0.5 * 100 ** torch.linspace(0, 1, width // 2, device="cpu"), persistent=False)

    def forward(self, level: Tensor) -> Tensor:
        """Map (B,) levels to (B, width) features in [-1, 1]."""
        angle = level[:, None] * self.frequencies.to(level)
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class Fourier(nn.Module):
    """Gaussian Fourier features cos(2 pi w level), sin(2 pi w level) of a scalar, with `width // 2` frequencies w ~ N(0, 1).

    The frequencies are random but fixed: drawn with seed 0, the same in every network of this width, on any machine. So they
    are no weights: nothing averages them and nothing has to save them. (001 draws them anew for each network and keeps them
    among its parameters; its w multiplies the time in [0, 1], ours the level.)

    Args:
        width: Number of features, even, at least 2.

    Raises:
        ValueError: `width` is odd or below 2.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"`width` of the Fourier features must be even and at least 2, but is {width}; use 128.")
        # Python promises that `random` stays the same for a seed; it does not promise that of its normals, nor torch of any.
        generator, normal = random.Random(0), NormalDist()
        drawn = [normal.inv_cdf(generator.random()) for _ in range(width // 2)]
        self.register_buffer("frequencies", 2 * math.pi * torch.tensor(drawn), persistent=False)

    def forward(self, level: Tensor) -> Tensor:
        """Map (B,) levels to (B, width) features in [-1, 1]."""
        angle = level[:, None] * self.frequencies.to(level)
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class Conditioning(nn.Module):
    """Turn (level, cond) into the vector (B, width) that every block of a network reads.

        c = SiLU(features(level) + class_table[label + 1] + V2 SiLU(V1 vector))
        features(level) = W2 SiLU(W1 sinusoids(level)), or Fourier(level) as they are (001)

    Row 0 of the class table is the null class, so that -1 selects it; where the vector is NaN its term is a learned one.

    Args:
        width: Size of the vector c, at least 1.
        classes: Number of classes; 0 builds a network without a class table.
        vector: Length K of the condition's vector; 0 for none.
        sinusoids: Number of sinusoids; 0 for Gaussian Fourier features, `width` of them.

    Raises:
        ValueError: `width` is below 1, `classes` or `vector` is negative, or there cannot be so many features.
    """

    def __init__(self, width: int, classes: int = 0, vector: int = 0, sinusoids: int = 64) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"`width` of the conditioning must be at least 1, but is {width}; use 256.")
        if classes < 0:
            raise ValueError(f"`classes` must be 0 (no classes) or more, but is {classes}; count the labels.")
        if vector < 0:
            raise ValueError(f"`vector` must be 0 (no vector) or more, but is {vector}; count its numbers.")
        self.classes, self.vector = classes, vector
        self.embed: nn.Module = (
            nn.Sequential(Sinusoids(sinusoids), nn.Linear(sinusoids, width), nn.SiLU(), nn.Linear(width, width))
            if sinusoids
            else Fourier(width)
        )
        self.table = nn.Embedding(classes + 1, width) if classes else None
        self.numbers = nn.Sequential(nn.Linear(vector, width), nn.SiLU(), nn.Linear(width, width)) if vector else None
        self.null = nn.Parameter(torch.zeros(width)) if vector else None

    def forward(self, level: Tensor, cond: Tensor | Condition | None = None) -> Tensor:
        """Embed a batch.

        Args:
            level: (B,) log(sigma / alpha) / 4, about [-2.5, 2.5].
            cond: (B,) int64 in [0, classes), or -1 for the null class; a `Condition` with `label` and `vector`; None means
                the null of both for all.

        Returns:
            (B, width).

        Raises:
            ValueError: a shape, a kind or a class is wrong, or the network was built without that part.
        """
        if level.ndim != 1:
            raise ValueError(f"`level` must have shape (B,), but has {tuple(level.shape)}; give one level per sample.")
        told = check_condition(cond, level.shape[0], self.classes, self.vector, None, None)
        out: Tensor = self.embed(level)
        if self.table is not None:
            row = torch.zeros_like(level, dtype=torch.int64) if told.label is None else told.label + 1
            out = out + self.table(row)
        if self.numbers is not None:
            assert self.null is not None
            vector = out.new_full((level.shape[0], self.vector), torch.nan) if told.vector is None else told.vector.to(out)
            known = ~vector.isnan().any(1, keepdim=True)
            out = out + torch.where(known, self.numbers(torch.where(known, vector, 0)), self.null)
        return nn.functional.silu(out)


def check_condition(
    cond: Tensor | Condition | None, batch: int, classes: int, vector: int, image: int | None, sequence: int | None
) -> Condition:
    """Check at a network's door that a condition is of the kind that it was built for: the sizes given, None for any.

    Raises:
        ValueError: a part that the network does not read, or of another size, or a class out of range.
    """
    if isinstance(cond, Tensor) and (cond.shape != (batch,) or cond.dtype != torch.int64) and classes:
        raise ValueError(
            f"`cond` must be int64 of shape ({batch},), but is {cond.dtype} of shape "
            f"{tuple(cond.shape)}; give one class per sample, -1 for none."
        )
    if isinstance(cond, Tensor) and not classes:
        raise ValueError("`cond` was given to a network built with `classes` = 0; pass None, or build it with the class count.")
    told = as_condition(cond)
    built = {"label": classes, "vector": vector, "image": image, "sequence": sequence}
    for name, part in told.parts().items():
        size = built.get(name)
        if size == 0:
            option = "classes" if name == "label" else name
            raise ValueError(
                f"`cond` has a part {name}, but the network was built with `{option}` = 0; leave it out, or build it so."
            )
        if part.shape[0] != batch:
            raise ValueError(f"`cond` has {len(part)} rows for {batch} samples; give one per sample.")
        if size is not None and name != "label" and part.shape[2 if name == "sequence" else 1] != size:
            raise ValueError(f"`cond.{name}` has shape {tuple(part.shape)}, but the network was built with `{name}` = {size}.")
    # On an accelerator reading the values would wait for the device, and a graph (torch.compile, torch.export) cannot branch on
    # them; there the table lookup itself fails.
    if told.label is not None and told.label.device.type == "cpu" and not torch.compiler.is_compiling() and batch:
        low, high = int(told.label.min()), int(told.label.max())
        if low < -1 or high >= classes:
            raise ValueError(
                f"`cond` must lie in [-1, {classes}), but spans {low} to {high}; "
                "number the classes from 0 and use -1 for no condition."
            )
    return told


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
