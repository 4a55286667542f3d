"""Noise-conditioning augmentation: what a model that enlarges pictures is told.

    small = average of x0 over squares of factor x factor pixels
    told  = Condition(image = small + s eps, vector = [s]),      eps ~ N(0, I)

In training s is drawn anew for each picture, so the network learns to enlarge small pictures of every quality from exact to
noise of level `augment`, and which it has. When it enlarges what another model drew, a level above zero hides the errors of
that model, which it was never shown, at the price of hiding details of the small picture as well.

Source: Ho et al. 2022, "Cascaded diffusion models for high fidelity image generation" (conditioning augmentation); Saharia et
al. 2022, "Image super-resolution via iterative refinement" (SR3: the small picture as input channels).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from undrift.condition import Condition
from undrift.noise import Noise


def shrink(x: Tensor, factor: int) -> Tensor:
    """Pictures `(B, C, H, W)` averaged over squares of `factor`: `(B, C, H / factor, W / factor)`."""
    return F.avg_pool2d(x, factor)


def augmented(small: Tensor, level: Tensor, noise: Noise, label: Tensor | None = None) -> Condition:
    """Small pictures made noisy, and how noisy.

    Args:
        small: `(B, C, h, w)` in model space.
        level: `(B,)` standard deviation s of the noise, from 0 up, in model space.
        noise: One address per sample.
        label: `(B,)` classes, or None.
    """
    level = level.to(small)
    image = small + level[:, None, None, None] * noise.normal(small)
    return Condition(label=label, image=image, vector=level[:, None])


def enlarging(x0: Tensor, factor: int, augment: float, noise: Noise, label: Tensor | None = None) -> Condition:
    """The condition of a training step: `x0` made small, with noise of a level drawn from [0, `augment`] for each picture."""
    level = augment * noise.fold("level").uniform((len(x0),))
    return augmented(shrink(x0, factor), level, noise.fold("image"), label)
