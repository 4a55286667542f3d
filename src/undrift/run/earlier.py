"""A run as it was: the model of an earlier step, from the snapshots that every run keeps of its averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from undrift.error import UndriftError, short
from undrift.model import Model
from undrift.model_file import load
from undrift.run.power_averages import TRACKED, Profile, gamma_of, read_snapshots


def load_earlier(folder: Path, step: int, **where: Any) -> Model:
    """The model of a run at the snapshot nearest to a step, its weights averaged over the last twentieth of the steps so far.

    What autoguidance leans away from (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself").

    Args:
        folder: The run.
        step: Of the training; `model.trained["weights_of_step"]` says which one was found.
        where: `device` and `precision`, as `undrift.load` takes them.

    Raises:
        ModelError: no run there.
        UndriftError: a step that the training did not take, or a run that keeps no snapshots.
    """
    model = load(folder, **where)
    last = model.trained["steps"]
    if not 1 <= step <= last:
        raise UndriftError(f"{folder} has no step {short(step)}: it was trained for {last:,} steps; name one of them")
    snapshots, _ = read_snapshots(folder, last)
    if not snapshots:
        raise UndriftError(
            f"{folder} keeps no snapshots of earlier steps (snapshots=0, or fewer than 16 steps); guide by another run's folder"
        )
    found = min({profile.step for profile in snapshots}, key=lambda s: (abs(s - step), s))
    weights = snapshots[Profile(found, gamma_of(min(TRACKED.values())))]
    try:
        model.denoiser.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError:
        raise UndriftError(
            f"{folder}: the snapshot of step {found} does not fit model.json; they are of different runs"
        ) from None
    model.trained["weights_of_step"] = found
    return model
