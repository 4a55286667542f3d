"""A noise-aware classifier on disk, beside the model of its run: `noisy_classifier.json` and `noisy_classifier.safetensors`.

As for a model, neither file can execute anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from undrift.argument import instance, path as place_of
from undrift.denoiser import numbers_like
from undrift.error import ModelError, short
from undrift.guidance import NoisyClassifier
from undrift.model import Model
from undrift.model_file import read_weights
from undrift.nn import MLPClassifier, UNetClassifier
from undrift.nn.building import in_float32, without_memory
from undrift.recipe.build import ProcessOptions, build_process
from undrift.recipe.options import kinds
from undrift.schema import Facts, read_json
from undrift.storage import reason, write_text
from undrift.tensorfile import save_tensors

FORMAT = 1
NAME = "noisy_classifier"


class ClassifierFacts(Facts):
    """What noisy_classifier.json says. `weights` is the hash with which the weights were sealed, None where they were not."""

    format: int
    network: dict[str, str | int | list[int]]
    process: ProcessOptions  # type: ignore[valid-type]
    sigma_data: float
    classes: list[str]
    weights: str | None = None


@dataclass
class TrainedClassifier:
    """A classifier with what is known about it.

    Attributes:
        classifier: p(y | x_t).
        parts: What it is built from: `network`, `process`, `sigma_data`, `classes`.
        trained: Facts about the training: steps, examples, seconds, data.
    """

    classifier: NoisyClassifier
    parts: dict[str, Any]
    trained: dict[str, Any] = field(default_factory=dict)


def fresh_classifier(model: Model, prior: torch.Tensor) -> TrainedClassifier:
    """A classifier with fresh weights for the data and the process of a model; `prior` `(C,)`: frequencies of the classes."""
    shape = model.spec.shape
    network: dict[str, Any] = {"kind": "mlp", "width": 128, "depth": 3}
    if len(shape) == 3 and min(shape[1:]) >= 8:
        network = {"kind": "unet", "widths": [24, 48, 96], "patch": 2 if min(shape[1:]) >= 20 else 1, "embedding": 128}
    parts = {"network": network, "classes": list(model.spec.classes), **{k: model.parts[k] for k in ("process", "sigma_data")}}
    net = build_network(network, shape, len(model.spec.classes))
    return TrainedClassifier(NoisyClassifier(net, model.denoiser.process, prior, parts["sigma_data"]), parts)


def build_network(options: dict[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of a description `{"kind": "unet" | "mlp", ...}`."""
    given = {k: v for k, v in options.items() if k != "kind"}
    sizes = [n for v in given.values() for n in (v if isinstance(v, list) else [v])]
    if any(not isinstance(n, int) or not 0 < n <= 4096 for n in sizes) or given.get("depth", 1) > 256 or len(sizes) > 64:
        raise ValueError("its sizes are absurd")
    with in_float32():
        if options["kind"] == "unet":
            return UNetClassifier(shape[0], classes, **given)
        if options["kind"] == "mlp":
            return MLPClassifier(shape, classes, **given)
    raise ValueError(f'network kind "{options["kind"]}" is unknown')


def save_classifier(trained: TrainedClassifier, folder: Path) -> None:
    """Write both files. Raises OutputError if that cannot be done."""
    mark = save_tensors(folder / f"{NAME}.safetensors", {f"raw.{k}": v for k, v in trained.classifier.state_dict().items()})
    told = {"format": FORMAT, **trained.parts, "trained": trained.trained, "weights": mark}
    write_text(folder / f"{NAME}.json", json.dumps(told, indent=1) + "\n")


def load_classifier(path: str | Path, model: Model) -> NoisyClassifier:
    """Load the noise-aware classifier of a run. Executes nothing: the files are JSON and safetensors.

    Args:
        path: The run's folder.
        model: The run's model, from `undrift.load`; the classifier goes to its device.

    Raises:
        ModelError: nothing there, or files that are damaged, or do not fit each other or the model.
    """
    instance(model, "model", Model, "give the run's model, from undrift.load")
    folder, spec = place_of(path, "path", "name a run's folder"), model.spec
    where = folder / f"{NAME}.json"
    if not where.is_file():
        raise ModelError(f"{folder} has no noise-aware classifier; train one with `undrift train-classifier {folder}`")
    told = read_json(where, ClassifierFacts, ModelError, "a description of a classifier", "train it again")
    if told.format != FORMAT:
        raise ModelError(f"{where} has format {told.format}, this version of undrift reads format {FORMAT}")
    process, count = build_process(kinds(told.process)), len(spec.classes)
    own = model.denoiser.process, model.parts["sigma_data"], list(spec.classes)
    if (process, told.sigma_data, told.classes) != own:
        raise ModelError(f"{where} is of another process, sigma_data or classes than the model; train it again")
    try:
        with without_memory():  # shapes alone: a description from a stranger may ask for any amount of memory
            network = build_network(told.network, spec.shape, count)
            shapes = {f"net.{k}": v.shape for k, v in network.state_dict().items()} | {"log_prior": torch.Size([count])}
        state = read_weights(folder / f"{NAME}.safetensors", "raw", shapes, told.weights is not None)
        classifier = NoisyClassifier(
            build_network(told.network, spec.shape, count), process, torch.ones(count, dtype=torch.float64), told.sigma_data
        )
        classifier.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError) as error:
        said = f"{type(error).__name__}: {short(reason(error))}"
        raise ModelError(f"{where} does not describe a classifier ({said}); train it again") from None
    return classifier.eval().requires_grad_(False).to(numbers_like(model.denoiser).device)
