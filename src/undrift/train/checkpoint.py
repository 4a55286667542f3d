"""The states of a run: all that is needed to go on as if it had never stopped.

Randomness is addressed by the step, so a state is small: the step, the seconds spent, the smoothed loss, weights, averages and
optimiser, in one safetensors file (no code). A state is written beside the older ones, flushed to the disk, read back and compared
by its hash, renamed, and only then is an older one deleted. On loading the hash is checked again, and a state that is not
what was written is passed over for the one before.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from undrift.error import ModelError
from undrift.model import contiguous, write_atomically
from undrift.train.ema import Average

FOLDER = "state"
Groups = dict[str, dict[str, Tensor]]  # "raw", "optimizer" and the name of each average, to tensors by name


class Damaged(ModelError):
    """A file that does not hold what was written to it."""


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Optimiser steps done.
        seconds: Of training they took.
        loss: The smoothed training loss; NaN before the first step.
        lowest: The lowest it was after the first 20 steps, when it is smooth enough to go by; before: infinite.
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    lowest: float = math.inf

    def after(self, loss: float, seconds: float) -> Progress:
        """One step further."""
        smooth = loss if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss
        return Progress(self.step + 1, seconds, smooth, min(self.lowest, smooth) if self.step >= 20 else self.lowest)


def path_of(folder: Path, step: int) -> Path:
    """Where the state of a step is."""
    return folder / FOLDER / f"step-{step:08d}.safetensors"


def steps_of(folder: Path) -> list[int]:
    """The steps of which there is a state, in order."""
    return sorted(int(p.stem.removeprefix("step-")) for p in (folder / FOLDER).glob("step-*.safetensors"))


def save_state(
    folder: Path, progress: Progress, module: nn.Module, averages: Mapping[str, Average], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state of a step beside the others. Raises OutputError if it cannot, or if it does not read back as written."""
    groups: Groups = {"raw": module.state_dict(), "optimizer": {}} | {name: a.weights for name, a in averages.items()}
    for i, slots in optimizer.state_dict()["state"].items():
        groups["optimizer"] |= {f"{i}.{k}": torch.as_tensor(v) for k, v in slots.items()}
    write_groups(path_of(folder, progress.step), groups, vars(progress))


def rotate(folder: Path, keep: int, best: int | None) -> None:
    """Delete all states but the newest `keep` and that of the best step."""
    for step in steps_of(folder)[:-keep]:
        if step != best:
            with suppress(OSError):
                path_of(folder, step).unlink()


def load_state(
    folder: Path, module: nn.Module, averages: Mapping[str, Average], optimizer: torch.optim.Optimizer
) -> tuple[Progress | None, list[str]]:
    """Restore the newest state that is whole.

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
            groups, facts = read_groups(path)
            progress = _restore(groups, facts, module, averages, optimizer)
        except ModelError as error:
            notes.append(f"passed over: {error}")
            if isinstance(error, Damaged):
                with suppress(OSError):
                    path.rename(path.with_suffix(".damaged"))
            continue
        return progress, notes + [f"going on from the state of step {progress.step}"] * bool(notes)
    if notes:
        raise ModelError(
            f"{notes[0].removeprefix('passed over: ')}; no other can be used; --fresh starts over, keeping this run aside"
        )
    return None, []


def _restore(
    groups: Groups, facts: dict[str, Any], module: nn.Module, averages: Mapping[str, Average], optimizer: torch.optim.Optimizer
) -> Progress:
    """Put everything in place, after all of it was found to fit."""
    progress = Progress(**facts)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    shapes = {name: {k: v.shape for k, v in weights.items()} for name, weights in groups.items()}
    own = {k: v.shape for k, v in module.state_dict().items()}
    slots = {f"{i}.{k}": p.shape for i, p in enumerate(parameters) for k in ("exp_avg", "exp_avg_sq")}
    slots |= {f"{i}.step": torch.Size([]) for i in range(len(parameters))}
    wanted = {"raw": own, "optimizer": slots if progress.step else {}} | {name: own for name in averages}
    if shapes != {name: group for name, group in wanted.items() if group}:
        raise ModelError(f"the state of step {progress.step} lacks weights, averages or optimiser slots of this model")
    module.load_state_dict(groups["raw"])
    for name, average in averages.items():
        average.load(groups[name])
    state = optimizer.state_dict()
    for name, tensor in groups.get("optimizer", {}).items():
        i, _, slot = name.partition(".")
        # The fused optimiser walks through memory: its slots must be laid out as the parameter is (channels last, say).
        placed = tensor if slot == "step" else torch.empty_like(parameters[int(i)]).copy_(tensor)
        state["state"].setdefault(int(i), {})[slot] = placed
    optimizer.load_state_dict(state)
    return progress


def write_groups(path: Path, groups: Groups, facts: Mapping[str, Any]) -> None:
    """Tensors in named groups, with facts and the hash of all, written atomically and read back."""
    tensors = contiguous({f"{group}.{k}": v for group, weights in groups.items() for k, v in weights.items()})
    text = json.dumps(dict(facts))
    mark = digest(tensors, text)
    about = {"facts": text, "sha256": mark}

    def check(temporary: Path) -> None:
        found, said = _read(temporary)
        if digest(found, said.get("facts", "")) != mark:
            raise Damaged("it does not read back as it was written")

    write_atomically(path, lambda p: save_file(tensors, p, about), check)


def read_groups(path: Path) -> tuple[Groups, dict[str, Any]]:
    """What `write_groups` wrote.

    Raises:
        Damaged: the file holds something else.
        ModelError: it cannot be opened.
    """
    try:
        tensors, about = _read(path)
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise ModelError(f"{path} cannot be opened ({error.strerror})") from None
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise Damaged(f"{path} is damaged ({(str(error).splitlines() or [type(error).__name__])[0]})") from None
    text = about.get("facts", "")
    if digest(tensors, text) != about.get("sha256"):
        raise Damaged(f"{path} is damaged (its content does not have the hash that was written with it)")
    groups: Groups = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        groups.setdefault(group, {})[rest] = tensor
    return groups, json.loads(text)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256, in hexadecimal, of the names, types, shapes and bytes of contiguous CPU tensors, and of a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return total.hexdigest()
