"""Objects from options: the process, the network and the denoiser that a recipe or a model.json describes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter
from torch import nn

from undrift import target as targets
from undrift.denoiser import Denoiser
from undrift.error import RecipeError
from undrift.nn import Energy
from undrift.nn.building import in_float32, without_memory
from undrift.process import Process
from undrift.recipe.conditions import condition_of
from undrift.recipe.options import union_of
from undrift.recipe.tables import NETWORKS, PROCESSES
from undrift.storage import memory
from undrift.synonyms import hint

TARGETS = ("data", "noise", "score", "v", "velocity", "karras")
ProcessOptions = union_of(PROCESSES)
NetworkOptions = union_of(NETWORKS, energy=(bool, False))


def build_target(name: str, sigma_data: float) -> targets.Target:
    """The target of this name. Raises RecipeError for an unknown one."""
    if name not in TARGETS:
        raise RecipeError(f'target "{name}" is unknown{hint(name, TARGETS)}')
    return targets.karras(sigma_data) if name == "karras" else getattr(targets, name)


def build_process(options: Mapping[str, Any]) -> Process:
    """The process of a recipe part `{"kind": ..., ...}`. Raises RecipeError for illegal values."""
    return _built("process", PROCESSES[options["kind"]], {k: v for k, v in options.items() if k != "kind"})


def build_network(
    options: Mapping[str, Any], shape: tuple[int, ...], classes: int, condition: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network of a recipe part for data of one shape, a number of classes (0: none), and what else it is told."""
    condition_kind = condition_of(condition)
    told = {} if condition_kind is None else condition_kind.arguments(shape)
    given = {k: v for k, v in options.items() if k not in ("kind", "energy")} | {"classes": classes} | told
    if options.get("energy") and options.get("learned_variance"):
        raise RecipeError("network.energy and network.learned_variance exclude each other; choose one")
    kind = options["kind"]
    reads = inspect.signature(NETWORKS[kind]).parameters
    if condition_kind is not None and not set(told) <= set(reads):
        raise RecipeError(f"condition.kind={condition_kind.kind} is told to pictures; use network.kind=unet")
    if "shape" in reads:
        given["shape"] = shape
    else:
        wanted = "sequences (C, L), images (C, H, W) or volumes (C, D, H, W)" if "rank" in reads else "images (C, H, W)"
        if len(shape) not in ((2, 3, 4) if "rank" in reads else (3,)):
            raise RecipeError(f"network.kind={kind} wants {wanted}, but these data have shape {shape}; use network.kind=mlp")
        given |= {"channels_in": shape[0]} | ({"rank": len(shape) - 1} if "rank" in reads else {})
    with in_float32():
        network: nn.Module = _built("network", NETWORKS[kind], given)
        network = network if condition_kind is None else condition_kind.wrap(network)
    return Energy(network) if options.get("energy") else network


def default_network(shape: tuple[int, ...], device: str = "cpu") -> dict[str, Any]:
    """What a recipe that names no network gets: an MLP for vectors and for what has a side below 8, else a U-Net by the size.

    On a GPU a side of 20 or more is halved at once (`patch`), and colour has twice the features of grey. On a CPU, where an hour
    decides what is learnt, pictures get a network that is some ten times quicker: squares of 4 x 4 pixels are folded into channels
    from a side of 40 on, few features on the finest level, and the blocks where the pixels are few (`bench/speedrun.md` has the trials).
    From then on each level halves the sides again, down to 8 or so, and the coarsest has attention.
    """
    if len(shape) not in (2, 3, 4) or min(shape[1:]) < 8:
        return {"kind": "mlp", "width": 256, "depth": 4}
    side, pictures = min(shape[1:]), len(shape) == 3
    quick = pictures and device == "cpu"
    patch = 4 if quick and side >= 40 else 2 if side >= 20 else 1
    levels = max(2, min(5, round(math.log2(side / patch / 8)) + 1))
    if quick:
        few = {"widths": [48] + [128] * (levels - 1), "blocks": [1] * (levels - 1) + [2], "merge": "add"}
        return {"kind": "unet", **few, "patch": patch, "attention": [levels - 1]}
    colour = pictures and shape[0] >= 3
    widths = [min(32 * 2**i, 128) * (1 + colour) for i in range(levels)]
    return {"kind": "unet", "widths": widths, "patch": patch} | ({"attention": [levels - 1]} if colour else {})


def build_denoiser(
    network: Mapping[str, Any],
    process: Mapping[str, Any],
    target: str,
    sigma_data: float,
    shape: tuple[int, ...],
    classes: int,
    condition: Mapping[str, Any] | None = None,
) -> Denoiser:
    """Network, process and target put together."""
    built = build_process(process)
    try:
        net = build_network(network, shape, classes, condition)
        return Denoiser(net, built, build_target(target, sigma_data), sigma_data, shape)
    except ValueError as error:
        raise RecipeError(f"target={target}: {error}") from None


def same_network(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two descriptions of a network mean the same: an option left out is its default."""
    whole = TypeAdapter(NetworkOptions)
    return whole.validate_python(dict(one)) == whole.validate_python(dict(other))


def check_memory(network: Mapping[str, Any], shape: tuple[int, ...], classes: int, condition: Any, copies: int) -> None:
    """Refuse a network of which so many copies do not fit into memory, before it is built. Raises RecipeError."""
    with without_memory():
        count = sum(p.numel() for p in build_network(network, shape, classes, condition).parameters())
    if 4 * copies * count > (free := memory()):
        raise RecipeError(
            f"network: its {count:,} parameters take {4 * copies * count / 2**30:,.1f} GiB to train, and {free / 2**30:,.1f} GiB are "
            "free; give a smaller one (network.width, network.widths, network.depth)"
        )


def _built(where: str, make: Callable[..., Any], options: dict[str, Any]) -> Any:
    try:
        with in_float32():
            return make(**options)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None
