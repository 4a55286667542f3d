"""Measurement operators and methods by name: `blur:2`, `downsample:4`, `mask:centre`, ... and `mmps`, `dps`, ..."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from undrift.error import DataError, UndriftError, nearest
from undrift.inverse import DPS, MMPS, TMPD, DiffPIR, Operator, PiGDM, blur, downsample, greyscale, mask, matrix, project
from undrift.inverse.posterior import Method

METHODS: dict[str, Method] = {"mmps": MMPS(), "tmpd": TMPD(), "pigdm": PiGDM(), "dps": DPS(), "diffpir": DiffPIR()}
HIDDEN = ("centre", "left", "right", "top", "bottom", "half")
EXAMPLES = ("blur:2", "downsample:4", "greyscale", "mask:centre", "project:0.1", "matrix:FILE.npy")

Shape = tuple[int, ...]
OPERATORS: dict[str, Callable[[Shape, str], Operator]] = {
    "blur": lambda shape, std: blur(shape, float(std)),
    "downsample": lambda shape, factor: downsample(shape, int(factor)),
    "greyscale": lambda shape, _: greyscale(shape),
    "mask": lambda shape, what: mask(_keep(shape, what)),
    "project": lambda shape, share: project(shape, float(share)),
    "matrix": lambda shape, path: matrix(_load(path).double(), shape),
}


def named_method(name: str) -> Method:
    """The method of a name. Raises UndriftError for an unknown one."""
    if name not in METHODS:
        raise UndriftError(f'method "{name}" is unknown{nearest(name, METHODS)}')
    return METHODS[name]


def named_operator(text: str, shape: Shape) -> Operator:
    """The operator of a text such as `blur:2`, for samples of one shape.

    Raises:
        UndriftError: an unknown name (the nearest is named), a value that is missing, unreadable, or does not fit the shape.
    """
    name, _, value = text.partition(":")
    if name not in OPERATORS:
        raise UndriftError(f'operator "{name}" is unknown{nearest(name, OPERATORS)}')
    example = next(e for e in EXAMPLES if e.partition(":")[0] == name)
    if bool(value) != (":" in example):
        raise UndriftError(f'operator "{text}" is not understood; write it like {example}')
    try:
        return OPERATORS[name](shape, value)
    except ValueError as error:
        reason = f'"{value}" is not a number that it takes' if "invalid literal" in str(error) else str(error).rstrip(".")
        reason = f'"{value}" is not a number' if "could not convert" in str(error) else reason
        raise UndriftError(f"operator {text}: {reason}{f'; write it like {example}' if value else ''}") from None


def _keep(shape: Shape, what: str) -> Tensor:
    """What a mask leaves to be seen: all but the centre (half of each side), one half, or every second entry at random."""
    if what.endswith(".npy"):
        keep = _load(what)
        if tuple(keep.shape) not in (shape, shape[1:]):
            raise UndriftError(f"operator mask:{what} has shape {tuple(keep.shape)}, the model's samples are {shape}")
        return keep.expand(shape)
    if what not in HIDDEN:
        raise UndriftError(f'mask:{what}: "{what}" is not a part that can be hidden{nearest(what, HIDDEN)}')
    keep = torch.ones(shape)
    if what == "half":
        generator = np.random.default_rng(0)
        return torch.from_numpy(generator.permutation(math.prod(shape)).reshape(shape) % 2)
    axes = range(1 if len(shape) > 1 else 0, len(shape))
    part = {"left": (-1, 0), "right": (-1, 1), "top": (-2, 0), "bottom": (-2, 1)}.get(what)
    if part is None:
        hidden = torch.ones(shape)
        for a in axes:
            where = torch.arange(shape[a])
            inside = (where >= shape[a] // 4) & (where < shape[a] - shape[a] // 4)
            hidden = hidden * inside.view(-1, *[1] * (len(shape) - 1 - a))
        return 1 - hidden
    if part[0] == -2 and len(shape) < 3:
        raise UndriftError(f"mask:{what} needs images, the model's samples are {shape}; hide left, right, centre or half")
    middle = shape[part[0]] // 2
    keep.movedim(part[0], 0)[slice(middle, None) if part[1] else slice(0, middle)] = 0
    return keep


def _load(path: str) -> Tensor:
    """The numbers of a `.npy` file; nothing in it is executed."""
    try:
        values = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "is not a .npy file of numbers"
        raise DataError(f"{path}: {reason}; write it with numpy.save") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise DataError(f"{path}: the values are not finite numbers; save plain numbers")
    return torch.from_numpy(values.astype(np.float64))
