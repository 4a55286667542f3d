"""The states of a run: all that is needed to go on as if it had never stopped.

Randomness is addressed by the step, so a state is small: the step, the seconds spent, the smoothed loss, weights, averages, optimiser
and, in half precision, the scale of the loss, in one safetensors file (no code). A state is written beside the older ones, flushed to
the disk, read back and compared by its hash, renamed, and only then is an older one deleted. On loading the hash is checked again,
and a state that is not what was written is passed over for the one before.

Tensors are written, checked and read one at a time. A run whose network is kept in parts by several processes has the very same file:
each tensor is put together, written and let go, and each process reads the rows of its part. So a state belongs to no number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from undrift.error import ModelError
from undrift.run.groups import FOLDER, Groups, Saved, numbered
from undrift.schema import Facts, validated
from undrift.tensorfile import TYPES, Damaged
from undrift.training.ema import Average

Local = Callable[[Tensor], tuple[Tensor, slice]]  # this process's part of a tensor, and the rows that it is


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Optimiser steps done.
        seconds: Of training they took.
        loss: The smoothed training loss; NaN before the first step.
        lowest: The lowest it was after the first 20 steps, when it is smooth enough to go by; before: infinite.
        skipped: Steps that changed no weight, because the scaled loss had overflowed (precision=float16).
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    lowest: float = math.inf
    skipped: int = 0

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Progress:
        """From the facts of a state. Raises ValueError for facts that no run has."""
        known = {name: facts[name] for name in vars(cls()) if name in facts}
        return cls(**vars(validated(known, _Progress)))

    def after(self, loss: float, seconds: float, skipped: bool = False) -> Progress:
        """One step further."""
        smooth = loss if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss
        lowest = min(self.lowest, smooth) if self.step >= 20 else self.lowest
        return Progress(self.step + 1, seconds, smooth, lowest, self.skipped + skipped)


class _Progress(Facts):
    """What `Progress` may be; a loss may be no number before the first step."""

    model_config = ConfigDict(allow_inf_nan=True)
    step: Annotated[int, Field(ge=0, le=2**53)]
    seconds: Annotated[float, Field(ge=0, lt=math.inf)]
    loss: float
    lowest: float
    skipped: Annotated[int, Field(ge=0, le=2**53)] = 0


def path_of(folder: Path, step: int) -> Path:
    """Where the state of a step is."""
    return folder / FOLDER / f"step-{step:08d}.safetensors"


def steps_of(folder: Path) -> list[int]:
    """The steps of which there is a state, in order."""
    return list(numbered(folder, "step"))


def state_groups(
    module: nn.Module,
    averages: Mapping[str, Average],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
) -> Groups:
    """The tensors of a state, none of them copied."""
    groups: Groups = {"raw": module.state_dict(), "optimizer": {}} | {name: a.weights for name, a in averages.items()}
    for i, slots in optimizer.state_dict()["state"].items():
        groups["optimizer"] |= {f"{i}.{k}": torch.as_tensor(v) for k, v in slots.items() if v is not None}
    if scaler is not None:
        about = scaler.state_dict()
        groups["scaler"] = {k: torch.tensor(about[k], dtype=torch.float64) for k in ("scale", "_growth_tracker")}
    return groups


def own_numbers(optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """The numbers that an optimiser keeps in its groups, some of which it changes as it goes: a step count, a distance, a weight."""
    found = []
    for group in optimizer.param_groups:
        plain = {k: v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for k, v in group.items()}
        found.append({k: v for k, v in plain.items() if k != "lr" and type(v) in (int, float, bool) and math.isfinite(v)})
    return found


def _put_numbers(optimizer: torch.optim.Optimizer, changed: Any) -> None:
    """Give an optimiser the numbers back that it had changed."""
    for group, numbers in zip(optimizer.param_groups, changed, strict=False):
        for k, v in numbers.items():
            if isinstance(group.get(k), Tensor):
                group[k].fill_(v)
            elif type(group.get(k)) in (int, float, bool) and type(v) in (int, float, bool):
                group[k] = v


def rotate(folder: Path, keep: int, best: int | None) -> None:
    """Delete all states but the newest `keep` and that of the best step."""
    for step in steps_of(folder)[:-keep]:
        if step != best:
            with suppress(OSError):
                path_of(folder, step).unlink()


def all_of(tensor: Tensor) -> tuple[Tensor, slice]:
    """The part of a process that has all of everything."""
    return tensor, slice(None)


def load_state(
    folder: Path,
    module: nn.Module,
    averages: Mapping[str, Average],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
    local: Local = all_of,
    data_hash: str | None = None,
    cure: str = "--fresh starts over, keeping this run aside",
) -> tuple[Progress | None, list[str]]:
    """Restore the newest state that is whole.

    Args:
        local: This process's part of a tensor, where it has not all of it.
        data_hash: Of the data that training goes on with; a state that was trained on others is of another run.
        cure: What to do where no state can be used.

    Returns:
        How far it is, None if there is no state yet; and a line for each newer one that was passed over. A damaged one is renamed
        to `*.damaged`, so that it is not asked again.

    Raises:
        ModelError: there are states, but none that is whole and of this model.
    """
    notes: list[str] = []
    for step in reversed(steps_of(folder)):
        path = path_of(folder, step)
        try:
            saved = Saved(path)
            if saved.facts.get("step") != step:
                raise Damaged(f"{path} is not the state of step {step}")
            if data_hash is not None and saved.data_hash not in (None, data_hash):
                raise ModelError(f"{path} was trained on other data than these; give the same --data-dir")
            progress = _restore(saved, module, averages, optimizer, scaler, local)
        except ModelError as error:
            notes.append(f"passed over: {error}")
            if isinstance(error, Damaged):
                with suppress(OSError):
                    path.rename(path.with_suffix(".damaged"))
            continue
        return progress, notes + [f"going on from the state of step {progress.step}"] * bool(notes)
    if notes:
        raise ModelError(f"{notes[0].removeprefix('passed over: ')}; no other can be used; {cure}")
    return None, []


def described(folder: Path) -> dict[str, Any] | None:
    """What the newest whole state says of its model, as model.json does; None if none says it."""
    for step in reversed(steps_of(folder)):
        try:
            found = Saved(path_of(folder, step)).facts.get("model")
        except ModelError:
            continue
        if isinstance(found, dict):
            return found
    return None


def _restore(
    saved: Saved,
    module: nn.Module,
    averages: Mapping[str, Average],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    local: Local,
) -> Progress:
    """Put everything in place, after all of it was found to fit."""
    try:
        progress = Progress.of(saved.facts)
    except ValueError as error:
        raise ModelError(f"{saved.file.path} tells of no run ({error})") from None
    if (before := saved.facts.get("optimizer", "AdamW")) != type(optimizer).__name__:
        raise ModelError(f"{saved.file.path} is of the optimiser {before}, not {type(optimizer).__name__}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    own = {k: v.shape for k, v in module.state_dict().items()}
    wanted = {"raw": own, "optimizer": _slots(saved, parameters, optimizer)} | {name: own for name in averages}
    if progress.step <= progress.skipped:
        wanted["optimizer"] = {}
    shapes = {group: found for group, found in saved.groups.items() if group != "scaler"}
    held = {"raw": module.state_dict(), **{name: average.weights for name, average in averages.items()}}
    types = {f"{name}.{k}": TYPES[v.dtype] for name, weights in held.items() for k, v in weights.items()}
    kept = {"F32", "F64", *(TYPES[p.dtype] for p in parameters)}  # moments, in the type of their parameter
    whole = not _is_plain(optimizer) or all(v in kept for k, v in saved.file.types.items() if k.startswith("optimizer."))
    if shapes != {name: group for name, group in wanted.items() if group} or not (
        whole and types.items() <= saved.file.types.items()
    ):
        raise ModelError(f"the state of step {progress.step} lacks weights, averages or optimiser slots of this model")
    scale = _scale_of(saved) if scaler is not None and "scaler" in saved.groups else None

    def fill(tensor: Tensor, name: str) -> Tensor:
        part, rows = local(tensor)
        part.copy_(saved.tensor(name, rows))
        return tensor

    with torch.no_grad():
        for group, weights in held.items():
            for k, tensor in weights.items():
                fill(tensor, f"{group}.{k}")
        # The fused optimiser walks through memory: its slots must be laid out as the parameter is (channels last, say).
        for key in shapes.get("optimizer", {}):
            index, _, slot = key.partition(".")
            p, name = parameters[int(index)], f"optimizer.{key}"
            if saved.groups["optimizer"][key] == p.shape and p.ndim:
                optimizer.state[p][slot] = fill(torch.zeros_like(p), name)
            else:
                value = saved.tensor(name)
                counts = slot == "step" and _is_plain(optimizer)
                optimizer.state[p][slot] = value.to(p.device, torch.float32 if counts else value.dtype)
    if isinstance(changed := saved.facts.get("groups"), list) and all(isinstance(each, dict) for each in changed):
        _put_numbers(optimizer, changed)
    if scaler is not None and scale is not None:
        scaler.load_state_dict(scaler.state_dict() | scale)
    return progress


def _slots(saved: Saved, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, torch.Size]:
    """The slots by name that a state should hold: of AdamW three for each parameter that was ever used, of others those it holds."""
    found = saved.groups.get("optimizer", {})
    if not _is_plain(optimizer):
        return {k: v for k, v in found.items() if k.partition(".")[0].isdecimal() and int(k.partition(".")[0]) < len(parameters)}
    used = {k.partition(".")[0] for k in found} or {str(i) for i in range(len(parameters))}
    slots = {f"{i}.{k}": p.shape for i, p in enumerate(parameters) if str(i) in used for k in ("exp_avg", "exp_avg_sq")}
    return slots | {f"{i}.step": torch.Size([]) for i in range(len(parameters)) if str(i) in used}


def _is_plain(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is AdamW with two moments, whose slots are known."""
    return type(optimizer) is torch.optim.AdamW and not any(group["amsgrad"] for group in optimizer.param_groups)


def _scale_of(saved: Saved) -> dict[str, Any]:
    """The scale of the loss in half precision. Raises ModelError if it is none."""
    if saved.groups["scaler"] != {"scale": torch.Size([]), "_growth_tracker": torch.Size([])}:
        raise ModelError(f"{saved.file.path} has no scale of the loss")
    scale, steps = (float(saved.tensor(f"scaler.{k}")) for k in ("scale", "_growth_tracker"))
    if not (0 < scale < math.inf and 0 <= steps < 2**31):
        raise ModelError(f"{saved.file.path} has the scale {scale:g} of the loss after {steps:g} steps, which makes no sense")
    return {"scale": scale, "_growth_tracker": int(steps)}
