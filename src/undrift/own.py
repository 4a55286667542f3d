"""Networks, processes and targets of the user's own: how a file names them, and how they are handed in again.

What undrift can build is described by a kind and its options. Anything else is the user's own: the file names its class, for people to
read, and the object must be handed in again. Nothing is imported by name from a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from undrift import target as targets
from undrift.denoiser import Denoiser
from undrift.nn import Energy
from undrift.nn.building import without_memory
from undrift.process import Process
from undrift.recipe.build import TARGETS, build_network, build_process
from undrift.recipe.limits import check_parts
from undrift.recipe.options import FROM_DATA
from undrift.recipe.tables import NETWORKS, PROCESSES

OWN = "own"


def described(denoiser: Denoiser, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """The parts of a denoiser as model.json holds them.

    Args:
        denoiser: The network with its process and target.
        shape: Of one sample.
        classes: How many there are; 0: none.
    """
    return {
        "network": network_of(denoiser.net, shape, classes),
        "process": process_of(denoiser.process),
        "target": target_of(denoiser.target, denoiser.sigma_data),
        "sigma_data": denoiser.sigma_data,
    }


def own(part: Any) -> dict[str, Any]:
    """The description of something that is the user's own."""
    return {"kind": OWN, "name": type(part).__qualname__}


def is_own(description: Mapping[str, Any]) -> bool:
    """Whether a network or a process is the user's own."""
    return description.get("kind") == OWN


def buildable(parts: Mapping[str, Any]) -> bool:
    """Whether undrift can build a denoiser from this description alone."""
    return not (is_own(parts["network"]) or is_own(parts["process"]) or parts["target"] == OWN)


def network_of(net: nn.Module, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """A network by its kind and options, where the same can be built from them; else the user's own."""
    energy = type(net) is Energy
    inner = net.net if type(net) is Energy else net
    kind = next((kind for kind, made in NETWORKS.items() if type(inner) is made), None)
    if kind is None:
        return own(net)
    given: dict[str, Any] = getattr(inner, "arguments", {})
    options = {"kind": kind, "energy": energy, **{k: given[k] for k in _options(NETWORKS[kind])}}
    try:
        check_parts({"network": options})
        with without_memory():
            again = build_network(options, shape, classes)
    except Exception:  # of other data than these: whatever a constructor may raise
        return own(net)
    return options if shapes_of(again) == shapes_of(net) else own(net)


def process_of(process: Process) -> dict[str, Any]:
    """A process by its kind and options, where the same can be built from them; else the user's own."""
    kind = next((kind for kind, made in PROCESSES.items() if type(process) is made), None)
    if kind is None:
        return own(process)
    options = {"kind": kind, **{k: getattr(process, k) for k in _options(PROCESSES[kind])}}
    try:
        check_parts({"process": options})
        return options if build_process(options) == process else own(process)
    except Exception:  # what was made in Python may be of a size that no file may ask for
        return own(process)


def target_of(target: targets.Target, sigma_data: float) -> str:
    """A target by its name, or "own"."""
    for name in TARGETS:
        known = targets.karras(sigma_data) if name == "karras" else getattr(targets, name)
        same = getattr(known, "func", known), getattr(known, "keywords", None)
        if (getattr(target, "func", target), getattr(target, "keywords", None)) == same:
            return name
    return OWN


def shapes_of(net: nn.Module) -> dict[str, torch.Size]:
    """The shapes of all that a network keeps, by name."""
    return {k: v.shape for k, v in net.state_dict().items() if isinstance(v, Tensor)}


def _options(made: type) -> list[str]:
    """The arguments of a class that a description names; the data decide the others."""
    return [name for name in inspect.signature(made).parameters if name not in FROM_DATA]
