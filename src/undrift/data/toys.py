"""Two-dimensional toys: sets that one can look at, of known law.

Point i depends on the seed and on i alone, so a larger set continues a smaller one; for fresh points of the
same law take another seed. The units are those of the law (its mean and standard deviation), not of the
sample: all sets of one toy share one spec, and the law of the mixture in model space is known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from undrift.data.dataset import Dataset
from undrift.data.spec import Spec
from undrift.data.stream import stream
from undrift.error import DataError, nearest

__all__ = ["TOYS", "checkerboard", "mixture", "mixture_law", "moons", "swiss_roll", "toy"]

Floats = NDArray[np.float64]


def mixture_law() -> tuple[Floats, float]:
    """The law of `mixture`: means (8, 2) and the standard deviation, in data units; the weights are equal."""
    angle = 2 * np.pi * np.arange(8) / 8
    return 4 * np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.3


def mixture(n: int = 10_000, seed: int = 0) -> Dataset:
    """Eight Gaussians of equal weight and standard deviation 0.3 on a circle of radius 4.

    Args:
        n: Number of points, from 1 up.
        seed: Any integer from 0 up.

    Returns:
        x: (n, 2) float32; label k is component k, class "k", at the angle of k / 8 turns.

    Raises:
        DataError: `n` or `seed` is out of range.
    """
    means, std = mixture_law()
    k = np.minimum((_uniform(n, seed, "mixture", "component") * 8).astype(np.int64), 7)
    points = means[k] + std * _normal(n, seed, "mixture")
    spread = math.sqrt(4**2 / 2 + std**2)
    return _toy("mixture", points, (0.0, 0.0), (spread, spread), k, tuple("01234567"))


def moons(n: int = 10_000, seed: int = 0, noise: float = 0.05) -> Dataset:
    """Two interleaved half circles of radius 1, blurred.

    Args:
        n: Number of points, from 1 up.
        seed: Any integer from 0 up.
        noise: Standard deviation of the blur, from 0 up, in data units.

    Returns:
        x: (n, 2) float32; label 0, class "upper", and label 1, class "lower".

    Raises:
        DataError: `n`, `seed` or `noise` is out of range.
    """
    lower = _uniform(n, seed, "moons", "which") < 0.5
    points = _moons(_uniform(n, seed, "moons", "angle"), lower) + _blur(n, seed, "moons", noise)
    u = _grid()
    shift, scale = _units(np.concatenate([_moons(u, u < 0), _moons(u, u >= 0)]), noise)
    return _toy("moons", points, shift, scale, lower.astype(np.int64), ("upper", "lower"))


def swiss_roll(n: int = 10_000, seed: int = 0, noise: float = 0.25) -> Dataset:
    """One and a half turns of a spiral, radius 1.5 pi to 4.5 pi, blurred.

    Args:
        n: Number of points, from 1 up.
        seed: Any integer from 0 up.
        noise: Standard deviation of the blur, from 0 up, in data units.

    Returns:
        x: (n, 2) float32, without labels.

    Raises:
        DataError: `n`, `seed` or `noise` is out of range.

    Source: the first and third axis of `sklearn.datasets.make_swiss_roll`.
    """
    points = _roll(_uniform(n, seed, "swiss_roll", "radius")) + _blur(n, seed, "swiss_roll", noise)
    shift, scale = _units(_roll(_grid()), noise)
    return _toy("swiss_roll", points, shift, scale)


def checkerboard(n: int = 10_000, seed: int = 0) -> Dataset:
    """Uniform on the eight dark squares of a 4 x 4 board over [-4, 4]^2: the density is 1/32 or 0.

    A square has side 2 and is dark if floor(x / 2) + floor(y / 2) is even.

    Args:
        n: Number of points, from 1 up.
        seed: Any integer from 0 up.

    Returns:
        x: (n, 2) float32, without labels.

    Raises:
        DataError: `n` or `seed` is out of range.
    """
    x = 8 * _uniform(n, seed, "checkerboard", "x") - 4
    v = 4 * _uniform(n, seed, "checkerboard", "y")  # position along the two dark squares of the column
    row = 2 * np.floor(v / 2) + np.mod(np.floor(x / 2), 2) - 2
    points = np.stack([x, 2 * row + np.mod(v, 2)], axis=1)
    spread = 8 / math.sqrt(12)
    return _toy("checkerboard", points, (0.0, 0.0), (spread, spread))


TOYS: dict[str, Callable[..., Dataset]] = {
    "mixture": mixture,
    "moons": moons,
    "swiss_roll": swiss_roll,
    "checkerboard": checkerboard,
}


def toy(name: str = "mixture", n: int = 10_000, seed: int = 0, noise: float | None = None) -> Dataset:
    """A toy by name.

    Args:
        name: A key of `TOYS`.
        n: Number of points, from 1 up.
        seed: Any integer from 0 up.
        noise: Blur of the moons and the swiss roll, in data units; None for their own default.

    Raises:
        DataError: No toy of that name, one without blur was given `noise`, or a number is out of range.
    """
    if name not in TOYS:
        raise DataError(f'toy: "{name}" is unknown{nearest(name, TOYS)}')
    if noise is None:
        return TOYS[name](n, seed)
    if name not in ("moons", "swiss_roll"):
        raise DataError(f"toy: {name} takes no `noise`; only moons and swiss_roll are blurred")
    return TOYS[name](n, seed, noise)


def _toy(
    name: str,
    points: Floats,
    shift: tuple[float, ...],
    scale: tuple[float, ...],
    labels: NDArray[np.int64] | None = None,
    classes: tuple[str, ...] = (),
) -> Dataset:
    spec = Spec((2,), None, None, False, shift, scale, classes)
    return Dataset(points.astype(np.float32), labels, spec, name)


def _moons(u: Floats, lower: NDArray[np.bool_]) -> Floats:
    angle = np.pi * u
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.where(lower[:, None], np.array([1, 0.5]) - upper, upper)


def _roll(u: Floats) -> Floats:
    t = 1.5 * np.pi * (1 + 2 * u)
    return np.stack([t * np.cos(t), t * np.sin(t)], axis=1)


def _grid() -> Floats:
    """Midpoints of equal cells of (0, 1): a mean over them is an integral over u."""
    return (np.arange(4096) + 0.5) / 4096


def _blur(n: int, seed: int, name: str, noise: float) -> Floats:
    if not isinstance(noise, (int, float)) or not 0 <= noise < math.inf:
        raise DataError(f"{name}: `noise` is a standard deviation and must be 0 or more, but it is {noise!r}")
    return noise * _normal(n, seed, name)


def _units(law: Floats, noise: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, per column, of points of the law blurred by `noise`."""
    return tuple(law.mean(0).tolist()), tuple(np.sqrt(law.var(0) + noise**2).tolist())


def _normal(n: int, seed: int, name: str) -> Floats:
    return _stream(n, seed, name, "normal").standard_normal((n, 2))


def _uniform(n: int, seed: int, name: str, purpose: str) -> Floats:
    return _stream(n, seed, name, purpose).random(n)


def _stream(n: int, seed: int, name: str, purpose: str) -> np.random.Generator:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise DataError(f"{name}: `n` is the number of points and must be 1 or more, but it is {n!r}")
    try:
        return stream(seed, "toy", name, purpose)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
