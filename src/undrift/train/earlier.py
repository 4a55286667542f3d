"""A run as it was: the model of an earlier step, from the snapshots that every run keeps of its averages."""

from __future__ import annotations

from pathlib import Path

from undrift.error import UndriftError, short
from undrift.model import Model, load
from undrift.train.posthoc import TRACKED, Profile, gamma_of, read_snapshots


def load_earlier(folder: Path, step: int) -> Model:
    """The model of a run at a step of which it keeps a snapshot, its weights averaged over the last twentieth of the steps so far.

    What autoguidance leans away from (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself").

    Args:
        folder: The run.
        step: Of the training; it is kept as `model.trained["weights_of_step"]`.

    Raises:
        ModelError: no run there.
        UndriftError: a step that was not saved (those that were are named), or a run that keeps no snapshots.
    """
    model = load(folder)
    snapshots, _ = read_snapshots(folder, model.trained["steps"])
    if not snapshots:
        raise UndriftError(
            f"{folder} keeps no snapshots of earlier steps (snapshots=0, or fewer than 16 steps); guide by another run's folder"
        )
    saved = sorted({profile.step for profile in snapshots})
    if step not in saved:
        raise UndriftError(f"{folder} has not saved step {short(step)}; it has {', '.join(map(str, saved))}")
    weights = snapshots[Profile(step, gamma_of(min(TRACKED.values())))]
    try:
        model.denoiser.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except RuntimeError:
        raise UndriftError(f"{folder}: the snapshot of step {step} does not fit model.json; they are of different runs") from None
    model.trained["weights_of_step"] = step
    return model
