"""The state of a run: all that is needed to go on as if it had never stopped.

Randomness is addressed by the step, so the state is small: the step, the seconds spent, weights, EMA and optimiser, in one
safetensors file (no code), written atomically.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from undrift.error import ModelError
from undrift.model import contiguous, write_atomically
from undrift.train.ema import EMA

NAME = "state/state.safetensors"


@dataclass
class Progress:
    """How far a run is: optimiser steps done, and seconds of training they took."""

    step: int = 0
    seconds: float = 0.0


def save_state(folder: Path, progress: Progress, module: nn.Module, ema: EMA, optimizer: torch.optim.Optimizer) -> None:
    """Write the state. Raises OutputError if it cannot."""
    tensors: dict[str, Tensor] = {f"raw.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in ema.weights.items()}
    for i, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in slots.items()}
    facts = {"progress": json.dumps(vars(progress))}
    write_atomically(folder / NAME, lambda p: save_file(contiguous(tensors), p, facts))


def load_state(folder: Path, module: nn.Module, ema: EMA, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Restore the state, or None if there is none yet.

    Raises:
        ModelError: the file is damaged or of another model.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a dict)
            progress = Progress(**json.loads(file.metadata()["progress"]))
        groups: dict[str, dict[str, Tensor]] = {"raw": {}, "ema": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            groups[kind][rest] = tensor
        if not (isinstance(progress.step, int) and progress.step >= 0 and 0 <= progress.seconds < math.inf):
            raise ValueError(f"step {progress.step!r} after {progress.seconds!r} seconds")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        slots = (
            {f"{i}.{k}" for i in range(len(parameters)) for k in ("step", "exp_avg", "exp_avg_sq")} if progress.step else set()
        )
        if set(groups["ema"]) != set(ema.weights) or set(groups["optimizer"]) != slots:
            raise ValueError("it lacks averages or optimiser slots of this model")
        module.load_state_dict(groups["raw"])
        ema.load(groups["ema"])
        state = optimizer.state_dict()
        for name, tensor in groups["optimizer"].items():
            i, _, slot = name.partition(".")
            like = parameters[int(i)]
            # The fused optimiser walks through memory: its slots must be laid out as the parameter is (channels last, say).
            if slot != "step" and tensor.shape != like.shape:
                raise ValueError(f"optimiser slot {name} has shape {tuple(tensor.shape)}, its parameter {tuple(like.shape)}")
            placed = tensor if slot == "step" else torch.empty_like(like).copy_(tensor)
            state["state"].setdefault(int(i), {})[slot] = placed
        optimizer.load_state_dict(state)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path} cannot be resumed from ({reason}); --fresh starts over and keeps the old run aside") from None
    return progress
