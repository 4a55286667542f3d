"""A model on disk: two files, neither of which can execute anything.

`model.json` holds the architecture, process, target, data spec and versions; `model.safetensors` the raw and the averaged weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undrift.argument import function, instance, path as place_of
from undrift.data.spec import Spec
from undrift.denoiser import Denoiser
from undrift.description import CURE, read_description, write_description
from undrift.device import choose_device, in_precision
from undrift.error import ModelError, OutputError, UndriftError, nearest, short
from undrift.model import Model
from undrift.nn.building import without_memory
from undrift.nn.compiled import Compiling, check_compiling, compile_when_asked
from undrift.own import OWN, buildable, is_own, process_of, shapes_of, target_of
from undrift.process import Process, checked
from undrift.recipe.build import build_denoiser, build_network, build_process, build_target
from undrift.recipe.recipe import SamplingOptions
from undrift.storage import reason
from undrift.target import Target
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


def save(model: Model, folder: str | Path) -> None:
    """Write a model to a folder: `model.json`, which describes it, and `model.safetensors`, its weights.

    A network that is not one of undrift's is named in the description; `load(folder, net=...)` wants it back.

    Args:
        model: As `fit`, `train` and `load` return it.
        folder: A new folder, or one that holds a model and nothing of a training.

    Raises:
        OutputError: the folder holds a run, which has weights of its own, or it cannot be written.
    """
    instance(model, "model", Model, "give a Model, as undrift.fit, train or load returns it")
    place = place_of(folder, "folder", "name a folder")
    if any((place / name).exists() for name in ("config.yaml", "settings.json", "state", "cascade.json")):
        raise OutputError(f"{place} holds a run, which keeps its own weights; name another folder")
    if place.is_dir() and not _holds_model(place) and any(place.iterdir()):
        raise OutputError(f"{place} is not empty and holds no model; name another folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {reason(error)}") from None
    state = model.denoiser.state_dict()
    write_model(model, {"raw": state, "ema": state}, place)


def _holds_model(folder: Path) -> bool:
    """Whether what is called a model there is one of ours, and may be replaced by another."""
    try:
        read_description(folder)
    except UndriftError:
        return False
    return True


def identity(description: Mapping[str, Any]) -> str:
    """A short hash of what a model is made of: both files of a model have it, so that weights of another model are found out."""
    named = {k: description.get(k) for k in ("network", "process", "target", "sigma_data", "condition", "spec")}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]


def write_model(
    model: Model, weights: dict[str, dict[str, Tensor]], folder: Path, whole: Callable[[str], Tensor] | None = None
) -> None:
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
    description = model.describe()
    made = identity(description)
    mark = save_tensors(folder / WEIGHTS, named, made, whole)
    write_description(folder, description | {"weights": mark, "made": made})


def save_sampling(folder: Path, sampling: SamplingOptions) -> None:
    """Make these the defaults of a saved model's `sample`: `model.json` changes there and nowhere else, the weights not at all."""
    description, _ = read_description(folder)
    write_description(folder, {**description, "sampling": sampling.model_dump(mode="json")})


def load(
    path: str | Path,
    weights: str = "ema",
    device: str | torch.device = "auto",
    *,
    precision: str = "auto",
    compile: Compiling = False,
    net: nn.Module | None = None,
    process: Process | None = None,
    target: Target | None = None,
) -> Model:
    """Load a model. Executes nothing: the files are JSON and safetensors.

    Args:
        path: A run's folder.
        weights: "ema" (the averaged ones) or "raw".
        device: Where to put it: "auto" (the GPU where there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: In which its network runs: "auto" (bfloat16 on a GPU that has it, else float32), "fast" (on a CPU
            too), "float32", "bfloat16" or "float16".
            Likelihoods and latents are computed in float32 whatever is said here.
        compile: Compile the network with `torch.compile`, at its first call; "graphs": and launch it as CUDA graphs. For samples, as
            likelihoods and latents do without.
        net: The network, where it is not one of undrift's: an object of the class that was trained, made with the same arguments. The
            weights are put into it, and it belongs to the model from then on: give each model an object of its own.
        process, target: Those of a model whose process or target is not one of undrift's.

    Raises:
        ModelError: nothing there, or files that are damaged, of another kind, or do not fit each other or the network.
        UndriftError: a device that is not there.
        TypeError, ValueError: a network, a process or a target that is none.
    """
    if isinstance(weights, nn.Module):
        raise TypeError("the network goes in by name: load(folder, net=Net()).")
    folder, place = place_of(path, "path", "name a run's folder"), choose_device(device)
    kind = in_precision(precision, place)
    check_compiling(compile, place)
    if net is not None:
        instance(net, "net", nn.Module, "hand in an object of the network's class, such as Net()")
    if process is not None:
        checked(process)
    if target is not None:
        function(target, "target", "hand in the function")
    description, spec = read_description(folder)
    if not isinstance(weights, str) or weights not in ("ema", "raw"):
        raise ModelError(f'weights "{short(weights)}" is unknown{nearest(short(weights), ("ema", "raw"))}')
    where = folder / "model.json"
    parts = {k: description[k] for k in ("network", "process", "target", "sigma_data")}
    if description.get("condition") is not None:
        parts["condition"] = description["condition"]
    sealed = description.get("weights") is not None
    about = description.get("made")
    sampling, trained = SamplingOptions(**description["sampling"]), dict(description["trained"])
    try:
        if net is not None or process is not None or target is not None or not buildable(parts):
            denoiser = handed_in(folder, parts, spec, net, process, target)
            state = read_weights(folder / WEIGHTS, weights, shapes_of(denoiser), sealed, net, about)
            model = Model(denoiser, spec, parts, sampling, trained)
        else:
            with without_memory():  # shapes alone: a description from a stranger may ask for any amount of memory
                network = build_network(parts["network"], spec.shape, len(spec.classes), parts.get("condition"))
                shapes = {f"net.{k}": v for k, v in shapes_of(network).items()}
            state = read_weights(folder / WEIGHTS, weights, shapes, sealed, None, about)
            with torch.random.fork_rng(devices=[]):  # its fresh weights are drawn for nothing
                model = build_model(parts, spec, sampling, trained)
    except UndriftError as error:
        raise error if isinstance(error, ModelError) else ModelError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{where} does not describe a model ({type(error).__name__}: {short(reason(error))})") from None
    try:
        model.denoiser.load_state_dict(state)
    except RuntimeError:
        raise ModelError(f"{folder}: model.safetensors does not fit model.json; they are of different runs") from None
    model.denoiser.eval().requires_grad_(False).to(place)
    model.denoiser.precision = kind
    if compile:
        compile_when_asked(model.denoiser.net, compile)
    return model


def beside(model: Model) -> dict[str, Any]:
    """Arguments of `load` for another model that is to work together with this one: on its device, in its precision."""
    kind = None if model.denoiser.precision is None else str(model.denoiser.precision).removeprefix("torch.")
    return {"device": model.device, "precision": kind or "float32"}


def handed_in(
    folder: Path, parts: dict[str, Any], spec: Spec, net: nn.Module | None, process: Process | None, target: Target | None
) -> Denoiser:
    """A denoiser of parts that undrift cannot build, or that were handed in all the same.

    Raises:
        ModelError: one that is the user's own and was not handed in.
    """
    wanted = {"net": (net, parts["network"]), "process": (process, parts["process"])}
    for name, (given, description) in wanted.items():
        if given is None and is_own(description):
            raise ModelError(
                f"{folder}: its {'network' if name == 'net' else name} is a class of your own, {description['name']}; load it in Python "
                f'and hand it in: undrift.load("{folder}", {name}={description["name"]}(...))'
            )
    if target is None and parts["target"] == OWN:
        raise ModelError(f'{folder}: its target is a function of your own; hand it in: undrift.load("{folder}", target=...)')
    if net is None:
        net = build_network(parts["network"], spec.shape, len(spec.classes), parts.get("condition"))
    if process is not None and not is_own(parts["process"]) and _plain(process_of(process)) != _plain(parts["process"]):
        raise ModelError(
            f"{folder} was trained with the process {parts['process']['kind']}, not with {short(process)}; leave `process` out, and see the "
            "model through another one by model.denoiser.using(process)"
        )
    if target is not None and parts["target"] not in (OWN, target_of(target, parts["sigma_data"])):
        raise ModelError(f"{folder} was trained with the target {parts['target']}; leave `target` out")
    built = build_process(parts["process"]) if process is None else process
    meant = build_target(parts["target"], parts["sigma_data"]) if target is None else target
    return Denoiser(net, built, meant, parts["sigma_data"], spec.shape)


def read_weights(
    path: Path, kind: str, shapes: dict[str, torch.Size], sealed: bool, net: nn.Module | None = None, about: str | None = None
) -> dict[str, Tensor]:
    """The tensors `kind.*` of a safetensors file, of exactly these names and shapes, checked before they are read, and finite.

    Args:
        path: The file.
        kind: "raw" or "ema".
        shapes: By name, without the kind.
        sealed: Whether the file must have a seal; one that it has is always checked.
        net: The network that was handed in, for the message where it is not the one that was trained.
        about: The `identity` of the model that they are to be of.

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
    if about is not None and file.facts not in ("", about):
        raise ModelError(f"{path.parent}: {path.name} does not fit {path.stem}.json; they are of different models")
    found = {k.removeprefix(f"{kind}."): v for k, v in file.shapes.items() if k.startswith(f"{kind}.")}
    if found != shapes and net is not None:
        odd = next(iter(sorted({*found} ^ {*shapes}) or [k for k in shapes if shapes[k] != found[k]]))
        told = [f"{tuple(each[odd])}" if odd in each else "nothing" for each in (found, shapes)]
        raise ModelError(
            f"{path}: the weights are not those of this {type(net).__name__}: {odd.removeprefix('net.')} is {told[0]} in the file and "
            f"{told[1]} in the network; hand in the class that was trained, made with the same arguments"
        )
    if found != shapes:
        raise ModelError(f"{path.parent}: {path.name} does not fit {path.stem}.json; they are of different runs")
    state = {k: file.tensor(f"{kind}.{k}") for k in shapes}
    bad = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v.float()).all())]
    if bad:
        raise ModelError(f"{path}: weights {kind}.{bad[0]} are not finite; load an earlier state or train again")
    return state


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """A described part without the kinds of sequences that files do not tell apart."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in part.items()}
