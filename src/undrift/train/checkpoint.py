"""The states of a run: all that is needed to go on as if it had never stopped.

Randomness is addressed by the step, so a state is small: the step, the seconds spent, the smoothed loss, weights, averages, optimiser
and, in half precision, the scale of the loss, in one safetensors file (no code). A state is written beside the older ones, flushed to
the disk, read back and compared by its hash, renamed, and only then is an older one deleted. On loading the hash is checked again,
and a state that is not what was written is passed over for the one before.

Tensors are written, checked and read one at a time. A run whose network is kept in parts by several processes has the very same file:
each tensor is put together, written and let go, and each process reads the rows of its part. So a state belongs to no number of processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from undrift.error import ModelError
from undrift.model import write_atomically
from undrift.tensorfile import digest, write_tensors
from undrift.train.ema import Average

FOLDER = "state"
Groups = dict[str, dict[str, Tensor]]  # "raw", "optimizer", "scaler" and the name of each average, to tensors by name
Local = Callable[[Tensor], tuple[Tensor, slice]]  # this process's part of a tensor, and the rows that it is


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
        skipped: Steps that changed no weight, because the scaled loss had overflowed (precision=float16).
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    lowest: float = math.inf
    skipped: int = 0

    def after(self, loss: float, seconds: float, skipped: bool = False) -> Progress:
        """One step further."""
        smooth = loss if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss
        lowest = min(self.lowest, smooth) if self.step >= 20 else self.lowest
        return Progress(self.step + 1, seconds, smooth, lowest, self.skipped + skipped)


def path_of(folder: Path, step: int) -> Path:
    """Where the state of a step is."""
    return folder / FOLDER / f"step-{step:08d}.safetensors"


def steps_of(folder: Path) -> list[int]:
    """The steps of which there is a state, in order."""
    return list(numbered(folder, "step"))


def numbered(folder: Path, what: str) -> dict[int, Path]:
    """The files of a run's states that are named so and a step, by step, in order; copies by other names are none of them."""
    found = {p.stem.removeprefix(f"{what}-"): p for p in (folder / FOLDER).glob(f"{what}-*.safetensors")}
    return dict(sorted((int(step), path) for step, path in found.items() if step.isdecimal()))


def state_groups(
    module: nn.Module,
    averages: Mapping[str, Average],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
) -> Groups:
    """The tensors of a state, none of them copied."""
    groups: Groups = {"raw": module.state_dict(), "optimizer": {}} | {name: a.weights for name, a in averages.items()}
    for i, slots in optimizer.state_dict()["state"].items():
        groups["optimizer"] |= {f"{i}.{k}": torch.as_tensor(v) for k, v in slots.items()}
    if scaler is not None:
        about = scaler.state_dict()
        groups["scaler"] = {k: torch.tensor(about[k], dtype=torch.float64) for k in ("scale", "_growth_tracker")}
    return groups


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by `group.name`, as they are named in files."""
    return {f"{group}.{k}": v for group, weights in groups.items() for k, v in weights.items()}


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
) -> tuple[Progress | None, list[str]]:
    """Restore the newest state that is whole.

    Args:
        local: This process's part of a tensor, where it has not all of it.

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
            progress = _restore(saved, module, averages, optimizer, scaler, local)
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
    saved: Saved,
    module: nn.Module,
    averages: Mapping[str, Average],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    local: Local,
) -> Progress:
    """Put everything in place, after all of it was found to fit."""
    progress = Progress(**saved.facts)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    own = {k: v.shape for k, v in module.state_dict().items()}
    slots = {f"{i}.{k}": p.shape for i, p in enumerate(parameters) for k in ("exp_avg", "exp_avg_sq")}
    slots |= {f"{i}.step": torch.Size([]) for i in range(len(parameters))}
    wanted = {"raw": own, "optimizer": slots if progress.step > progress.skipped else {}} | {name: own for name in averages}
    shapes = {group: found for group, found in saved.shapes.items() if group != "scaler"}
    if shapes != {name: group for name, group in wanted.items() if group}:
        raise ModelError(f"the state of step {progress.step} lacks weights, averages or optimiser slots of this model")

    def fill(tensor: Tensor, name: str) -> Tensor:
        part, rows = local(tensor)
        part.copy_(saved.tensor(name, rows))
        return tensor

    with torch.no_grad():
        for group, weights in {"raw": module.state_dict(), **{name: a.weights for name, a in averages.items()}}.items():
            for k, tensor in weights.items():
                fill(tensor, f"{group}.{k}")
        # The fused optimiser walks through memory: its slots must be laid out as the parameter is (channels last, say).
        for i, p in enumerate(parameters if "optimizer" in shapes else []):
            slot = {k: fill(torch.zeros_like(p), f"optimizer.{i}.{k}") for k in ("exp_avg", "exp_avg_sq")}
            optimizer.state[p] = {"step": saved.tensor(f"optimizer.{i}.step").to(p.device), **slot}
    if scaler is not None and "scaler" in saved.shapes:
        about = {k: saved.tensor(f"scaler.{k}").item() for k in saved.shapes["scaler"]}
        scaler.load_state_dict({**scaler.state_dict(), "scale": about["scale"], "_growth_tracker": int(about["_growth_tracker"])})
    return progress


def write_groups(path: Path, groups: Groups, facts: Mapping[str, Any], whole: Callable[[str], Tensor] | None = None) -> None:
    """Tensors in named groups, with facts and the hash of all, written atomically and read back; `whole` as for `write_tensors`.

    Raises:
        OutputError: it cannot be written, or does not read back as it was written.
    """
    tensors = flat(groups)
    marks: list[str] = []

    def write(temporary: Path) -> None:
        marks.append(write_tensors(temporary, tensors, json.dumps(dict(facts)), whole))

    def check(temporary: Path) -> None:
        try:
            same = Saved(temporary).mark == marks[-1]
        except Damaged:
            same = False
        if not same:
            raise Damaged("it does not read back as it was written")

    write_atomically(path, write, check)


def read_groups(path: Path) -> tuple[Groups, dict[str, Any]]:
    """All that `write_groups` wrote. Raises as `Saved`."""
    saved = Saved(path)
    return {group: {k: saved.tensor(f"{group}.{k}") for k in shapes} for group, shapes in saved.shapes.items()}, saved.facts


class Saved:
    """A file that `write_groups` wrote, found to be whole. Its tensors are read when they are asked for.

    Attributes:
        facts: What was written with them.
        shapes: Of the tensors by their names, by group.
        mark: The hash of all.

    Raises:
        Damaged: the file holds something else.
        ModelError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = cast(Any, safe_open)(path, framework="pt")
            names, about = sorted(self._file.keys()), self._file.metadata() or {}
            self.mark = digest(((k, self._file.get_tensor(k)) for k in names), about.get("facts", ""))
        except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
            raise ModelError(f"{path} cannot be opened ({error.strerror})") from None
        except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
            raise Damaged(f"{path} is damaged ({(str(error).splitlines() or [type(error).__name__])[0]})") from None
        if self.mark != about.get("sha256"):
            raise Damaged(f"{path} is damaged (its content does not have the hash that was written with it)")
        self.facts: dict[str, Any] = json.loads(about["facts"])
        self.shapes: dict[str, dict[str, torch.Size]] = {}
        for name in names:
            group, _, rest = name.partition(".")
            self.shapes.setdefault(group, {})[rest] = torch.Size(self._file.get_slice(name).get_shape())

    def tensor(self, name: str, rows: slice = slice(None)) -> Tensor:
        """A tensor by `group.name`, or some of its rows, on the CPU."""
        if rows == slice(None):
            return self._file.get_tensor(name)
        return self._file.get_slice(name)[rows]
