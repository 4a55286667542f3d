"""A model on disk: two files, neither of which can execute anything.

`model.json` holds the architecture, process, target, data spec and versions; `model.safetensors` the raw and the averaged weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from undrift.argument import path as place_of
from undrift.data.spec import Spec
from undrift.description import CURE, read_description, write_description
from undrift.device import choose_device
from undrift.error import ModelError, UndriftError, nearest, short
from undrift.model import Model
from undrift.recipe.recipe import SamplingOptions, build_denoiser, build_network
from undrift.storage import reason
from undrift.tensorfile import Damaged, TensorFile, save_tensors

WEIGHTS = "model.safetensors"


def build_model(parts: dict[str, Any], spec: Spec, sampling: SamplingOptions, trained: dict[str, Any]) -> Model:
    """A model with fresh weights from its description."""
    denoiser = build_denoiser(
        parts["network"],
        parts["process"],
        parts["target"],
        parts["sigma_data"],
        spec.shape,
        len(spec.classes),
        parts.get("condition"),
    )
    return Model(denoiser, spec, parts, sampling, trained)


def save(model: Model, weights: dict[str, dict[str, Tensor]], folder: Path, whole: Callable[[str], Tensor] | None = None) -> None:
    """Write `model.safetensors`, sealed, and `model.json`, which holds the seal.

    Args:
        model: What to describe.
        weights: State dicts by "raw" and "ema".
        folder: Where to.
        whole: As for `write_tensors`.

    Raises:
        OutputError: they cannot be written.
    """
    named = {f"{kind}.{k}": v for kind, state in weights.items() for k, v in state.items()}
    mark = save_tensors(folder / WEIGHTS, named, whole=whole)
    write_description(folder, model.describe() | {"weights": mark})


def save_sampling(folder: Path, sampling: SamplingOptions) -> None:
    """Make these the defaults of a saved model's `sample`: `model.json` changes there and nowhere else, the weights not at all."""
    description, _ = read_description(folder)
    write_description(folder, {**description, "sampling": sampling.model_dump(mode="json")})


def load(path: str | Path, weights: str = "ema", device: str | torch.device = "cpu") -> Model:
    """Load a model. Executes nothing: the files are JSON and safetensors.

    Args:
        path: A run's folder.
        weights: "ema" (the averaged ones) or "raw".
        device: Where to put it; see `undrift.device.choose_device`.

    Raises:
        ModelError: nothing there, or files that are damaged, of another kind, or do not fit each other.
        UndriftError: a device that is not there.
    """
    folder, place = place_of(path, "path", "name a run's folder"), choose_device(device)
    description, spec = read_description(folder)
    if not isinstance(weights, str) or weights not in ("ema", "raw"):
        raise ModelError(f'weights "{short(weights)}" is unknown{nearest(short(weights), ("ema", "raw"))}')
    where = folder / "model.json"
    parts = {k: description[k] for k in ("network", "process", "target", "sigma_data")}
    if description.get("condition") is not None:
        parts["condition"] = description["condition"]
    try:
        with torch.device("meta"):  # shapes alone: a description from a stranger may ask for any amount of memory
            network = build_network(parts["network"], spec.shape, len(spec.classes), parts.get("condition"))
            shapes = {f"net.{k}": v.shape for k, v in network.state_dict().items()}
        state = read_weights(folder / WEIGHTS, weights, shapes, description.get("weights") is not None)
        model = build_model(parts, spec, SamplingOptions(**description["sampling"]), dict(description["trained"]))
    except UndriftError as error:
        raise error if isinstance(error, ModelError) else ModelError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{where} does not describe a model ({type(error).__name__}: {short(reason(error))})") from None
    try:
        model.denoiser.load_state_dict(state)
    except RuntimeError:
        raise ModelError(f"{folder}: model.safetensors does not fit model.json; they are of different runs") from None
    model.denoiser.eval().requires_grad_(False).to(place)
    return model


def read_weights(path: Path, kind: str, shapes: dict[str, torch.Size], sealed: bool) -> dict[str, Tensor]:
    """The tensors `kind.*` of a safetensors file, of exactly these names and shapes, checked before they are read, and finite.

    Args:
        path: The file.
        kind: "raw" or "ema".
        shapes: By name, without the kind.
        sealed: Whether the file must have a seal; one that it has is always checked.

    Raises:
        ModelError: no such file, or one that is damaged, has lost its seal, does not fit, or holds NaN or infinities.
    """
    if not path.is_file():
        raise ModelError(f"{path.parent} holds no weights (no {path.name}); {CURE}")
    try:
        file = TensorFile(path)
    except Damaged as error:
        raise ModelError(f"{error}; {CURE}") from None
    if sealed and not file.mark:
        raise ModelError(f"{path} is not what was saved: it has lost its seal; {CURE}")
    found = {k.removeprefix(f"{kind}."): v for k, v in file.shapes.items() if k.startswith(f"{kind}.")}
    if found != shapes:
        raise ModelError(f"{path.parent}: {path.name} does not fit {path.stem}.json; they are of different runs")
    state = {k: file.tensor(f"{kind}.{k}") for k in shapes}
    bad = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise ModelError(f"{path}: weights {kind}.{bad[0]} are not finite; load an earlier state or train again")
    return state
