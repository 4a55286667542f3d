"""Restoring measurements with a model, and the picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from undrift.data.axes import fitted
from undrift.data.decode import over, read_picture
from undrift.data.files import values_of
from undrift.error import DataError, UndriftError
from undrift.inverse import Operator
from undrift.inverse.method import conjugate_gradients
from undrift.model import Model
from undrift.noise import Noise
from undrift.plot import picture


@dataclass(frozen=True)
class Restored:
    """Measurements and what they may have been of, in data units.

    Attributes:
        operator: The measurement.
        y: `(N, *Y)`.
        draws: `(N, K, *shape)`.
        truth: `(N, *shape)` where y was simulated.
    """

    operator: Operator
    y: Tensor
    draws: Tensor
    truth: Tensor | None

    @property
    def mean(self) -> Tensor:
        """`(N, *shape)` over the draws."""
        return self.draws.double().mean(1)

    @property
    def spread(self) -> Tensor:
        """`(N, *shape)` standard deviation over the draws (0 of a single one)."""
        return self.draws.double().std(1, correction=int(self.draws.shape[1] > 1))

    def misfit(self, noise_std: float) -> float:
        """Root mean square of `y - operator(draw)` in units of the noise: about 1 if the draws explain y."""
        each = self.draws.shape[1]
        rest = self.y.repeat_interleave(each, 0) - self.operator(self.draws.flatten(0, 1).to(self.y))
        return float(rest.square().mean().sqrt()) / noise_std

    def arrays(self) -> dict[str, Any]:
        """For a `.npz`."""
        parts = {"y": self.y, "draws": self.draws, "mean": self.mean, "spread": self.spread}
        return {k: v.numpy() for k, v in parts.items()} | ({} if self.truth is None else {"truth": self.truth.numpy()})


def read_noise(text: str, model: Model) -> float:
    """A standard deviation in data units: a number, or a percentage of the data's range."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise UndriftError(f'--noise "{text}" is not a number; give a standard deviation, or a percentage such as 5%') from None
    if text.endswith("%"):
        if model.spec.low is None or model.spec.high is None:
            raise UndriftError(f"--noise {text}: these data have no range; give a standard deviation in data units")
        value *= (model.spec.high - model.spec.low) / 100
    if not 0 < value < float("inf"):
        raise UndriftError(f"--noise {text}: it must be positive and finite; for an exact measurement give a small one")
    return value


def read_measured(path: Path, operator: Operator, n: int) -> Tensor:
    """The first `n` measurements `(N, *Y)` of a file; float64, data units. A picture is one measurement.

    An array may hold one or many, and is read as `fitted` reads it. For a mask it may be whole samples: what the mask
    hides is not looked at.
    """
    values = _read(path)
    for shape in (operator.measured, operator.shape) if operator.name == "mask" else (operator.measured,):
        whole = fitted(values, shape)
        if whole is not None:
            y = torch.from_numpy(whole[:n].astype(np.float64))
            found = operator(y) if shape != operator.measured else y
            if not bool(torch.isfinite(found).all()):
                raise DataError(f"{path}: {int((~torch.isfinite(found)).sum())} values are NaN or infinite; mend them")
            return found
    wanted = ", ".join(map(str, operator.measured))
    raise DataError(f"{path} has shape {tuple(values.shape)}, but what {operator.name} measures has ({wanted}) or (N, {wanted})")


def _read(path: Path) -> NDArray[Any]:
    """The numbers of a file as they are."""
    if (arrays := values_of(path)) is not None:
        values = arrays[0]
    else:
        values = np.atleast_3d(np.asarray(over(read_picture(path), "white"))).transpose(2, 0, 1)[None]
    if values.dtype.kind not in "fiub" or not values.size:
        raise DataError(f"{path}: the values are {values.dtype} of shape {values.shape}; save numbers")
    return values


def simulated(model: Model, truth: Tensor, operator: Operator, noise_std: float, seed: int) -> Tensor:
    """A measurement of clean data `(N, *shape)`, with noise of `seed`."""
    model.to_model(truth)  # says what is wrong with it
    y = operator(truth)
    return y + noise_std * Noise(range(len(y))).fold("simulate", seed).normal(y)


def sheet(restored: Restored, model: Model) -> Image.Image:
    """One row for each measurement: the truth if there is one, y, the mean, the spread, the draws.

    y of another shape than the data is shown as the sample nearest to the middle of the range that agrees with it. The spread
    is black for none and white for half the range (of data without one, for the largest).
    """
    spec = model.spec
    middle = spec.from_model(torch.zeros(len(restored.y), *spec.shape, dtype=torch.float32)).float()
    shown = restored.y
    if restored.operator.measured != spec.shape:
        shown = middle + _least(restored.operator, restored.y - restored.operator(middle)) if restored.operator.linear else middle
    black = 0.0 if spec.low is None else spec.low
    parts = [shown, restored.mean, black + 2 * restored.spread, *restored.draws.unbind(1)]
    if restored.truth is not None:
        parts.insert(0, restored.truth)
    pixels = np.stack([picture.tiles(spec.to_model(p.double()), spec) for p in parts], 1)
    return picture.mosaic(pixels.reshape(-1, *pixels.shape[2:]), len(parts))


def _least(operator: Operator, y: Tensor) -> Tensor:
    """The smallest x with `A x = y`, as far as twenty iterations get."""
    return operator.adjoint(conjugate_gradients(lambda u: operator(operator.adjoint(u)), y, 20))
