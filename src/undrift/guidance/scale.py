"""The strength of guidance: one convention, and one number for all or one for each sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from undrift.argument import real, tensor
from undrift.process import expand

LARGEST_SCALE = 1e6  # on either side: far beyond any use, and far from the largest numbers of 32 bits


def guidance_scale(scale: float | Tensor | None = None, w: float | Tensor | None = None) -> float | Tensor:
    """The guidance scale from either convention; 1 if neither is given.

    Raises:
        ValueError: both are given; one that is not finite, or beyond `LARGEST_SCALE` on either side.
    """
    if scale is not None and w is not None:
        raise ValueError(f"give `scale` or `w` (= scale - 1), not both; got scale = {scale} and w = {w}.")
    name, given = ("w", w) if w is not None else ("scale", 1.0 if scale is None else scale)
    if isinstance(given, (Tensor, np.ndarray, list, tuple)):
        own = isinstance(given, Tensor) and given.is_floating_point()
        given = tensor(given, name, None if own else torch.float64)
        if given.ndim > 1:
            raise ValueError(f"`{name}` has shape {tuple(given.shape)}: give one number, or one for each sample.")
    elif not isinstance(given, (int, float)):
        given = real(given, name, finite=False)
    found = 1 + given if w is not None else given
    if not bool((tensor(found, name, torch.float64).abs() <= LARGEST_SCALE).all()):  # NaN is not
        raise ValueError(
            f"a guidance scale is a finite number of at most {LARGEST_SCALE:g}, such as scale = 2 (w = 1), got {found}."
        )
    return found


def coefficient(scale: float | Tensor, x: Tensor) -> float | Tensor:
    """The scale as something that multiplies the batch `x` `(B, *D)`.

    Raises:
        ValueError: neither one scale nor one for each of the B samples.
    """
    if not isinstance(scale, Tensor):
        return scale
    if scale.ndim > 1 or (scale.ndim == 1 and len(scale) != len(x)):
        raise ValueError(
            f"`scale` has shape {tuple(scale.shape)} for a batch of {len(x)}: give one number, or one for each sample of the "
            f"batch ({len(x)},). `sample` cuts its samples into batches: pass it `batch_size` >= n."
        )
    return expand(scale, x)
