"""What a diagnosis needs from a run's folder: its law where it is known, its other weights, runs of smaller networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from undrift.data.toys import mixture_law
from undrift.denoiser import AnyDenoiser
from undrift.diagnosis.extrapolate import LEAST, Sized
from undrift.error import UndriftError
from undrift.exact import GaussianMixture
from undrift.model import Model
from undrift.model_file import beside, load
from undrift.run import Run


def as_users_get_them(model: Model) -> Callable[[Tensor], Tensor]:
    """Clipped, and whole where the data are."""
    return lambda y: model.spec.to_model(model.spec.from_model(y)).cpu()


def law_of(model: Model, folder: Path) -> GaussianMixture | None:
    """The law of the data in model space, where it is known: that of the toy `mixture`."""
    data = Run(folder).recipe.data
    if data.get("kind") != "toy" or data.get("name", "mixture") != "mixture":
        return None
    means, std = mixture_law()
    spread = std / torch.tensor(model.spec.scale, dtype=torch.float64).expand(2)
    centres = model.spec.to_model(torch.from_numpy(means)).double()
    return GaussianMixture(centres, torch.diag(spread**2).expand(len(means), 2, 2), process=model.denoiser.process)


def notes(model: Model, train: int, held_out: int, n: int) -> list[str]:
    said = []
    if train <= model.spec.size:
        said.append(
            f"{train:,} training examples are fewer than the {model.spec.size:,} features of each: the prior is judged entry by entry"
        )
    if len(model.spec.classes) == 1:
        said.append("one class only, so no classifier to judge by: the metric is the energy distance")
    if held_out < n:
        said.append(
            f"only {held_out:,} held-out examples for {n:,} samples: the floor is theirs, and repairs start from each again"
        )
    return said


def other_weights(model: Model, folder: Path, weights: str) -> tuple[str, AnyDenoiser]:
    """The weights of a run that were not asked for: their name and their denoiser."""
    name = "raw" if weights == "ema" else "ema"
    return name, load(folder, name, **beside(model)).denoiser


def size_of(model: Model, folder: Path) -> float:
    """Of a model's training: parameters times examples seen.

    Raises:
        UndriftError: the model does not say how many examples it has seen.
    """
    examples = model.trained.get("examples")
    if not isinstance(examples, (int, float)) or not examples > 0:
        raise UndriftError(f"{folder} does not say how many examples it was trained on, so its size is unknown; leave it out")
    return float(model.parameters * examples)


def smaller_runs(model: Model, folder: Path, folders: Sequence[Path], weights: str = "ema") -> list[Sized]:
    """Runs to extrapolate over: of the same data and process, and less parameters times examples than the run itself.

    Raises:
        UndriftError: fewer than two, of other data, another process or condition, as large or larger, or two of one size.
    """
    if len(folders) < LEAST - 1:
        raise UndriftError(
            f"--smaller: a floor is extrapolated over {LEAST} sizes or more; name {LEAST - 1} smaller runs at least"
        )
    own, found = size_of(model, folder), dict[float, Path]()
    sized = []
    for path in folders:
        other = load(path, weights, **beside(model))
        if other.spec != model.spec or other.trained.get("data_hash") != model.trained.get("data_hash"):
            raise UndriftError(f"{path} was trained on other data than {folder}; name runs of the same data")
        for part in ("process", "condition"):
            if other.parts.get(part) != model.parts.get(part):
                raise UndriftError(f"{path} was trained with another {part} than {folder}; name runs that differ in size alone")
        size = size_of(other, path)
        if size >= own:
            raise UndriftError(
                f"{path} is not smaller than {folder}: parameters times examples are {size:.3g}, and {own:.3g} there"
            )
        if size in found:
            raise UndriftError(f"{path} and {found[size]} are of one size; name runs of different sizes")
        found[size] = path
        sized.append(Sized(other.denoiser, size))
    return sized
