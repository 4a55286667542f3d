"""Which average of the weights is best? Averages of several lengths, made after the training, on the same held-out questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from undrift.data import Dataset
from undrift.error import UndriftError
from undrift.model_file import load, write_model
from undrift.run.log import read_log
from undrift.run.power_averages import LENGTHS, TRACKED, Profile, combine, gamma_of, read_snapshots
from undrift.training.monitor import Monitor, number
from undrift.training.trainer import Trainer
from undrift.tuning.choice import choose, sigmas

EXAMPLES = 1024  # held-out examples that decide


@dataclass(frozen=True)
class Candidate:
    """An average of the weights.

    Attributes:
        name: In words.
        losses: `(n,)` of the held-out questions.
        missed: How far its weights over the steps are from those wanted, as a share; 0 for what was tracked.
        about: For model.json.
        weights: By name.
        present: Whether the model samples from it now.
    """

    name: str
    losses: Tensor
    missed: float = 0.0
    about: dict[str, float | int] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)
    present: bool = False

    @property
    def held_out(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    def against(self, other: Candidate) -> tuple[float, float]:
        """How much higher its loss is than another's, on the same questions, and the standard error of that."""
        gap = self.losses - other.losses
        return float(gap.mean()), float(gap.std()) / math.sqrt(len(gap))


def settled(found: Sequence[Candidate]) -> tuple[Candidate, Candidate]:
    """The candidate with the lowest loss, and that to sample from: the same, unless the present one is within the error of it."""
    ranked = sorted(found, key=lambda c: (math.isnan(c.held_out), c.held_out))
    now = next((c for c in found if c.present), None)
    return ranked[0], choose(ranked, lambda one, other: sigmas(*one.against(other)), present=now)


def candidates(trainer: Trainer, held_out: Dataset, lengths: tuple[float, ...] = LENGTHS) -> tuple[list[Candidate], list[str]]:
    """The raw weights, the average that was tracked, and those of all lengths, at the end and at the snapshot nearest to the
    lowest held-out loss; one is marked as what the model samples from, and comes last if it is none of these.

    Returns:
        The candidates; and a line for each snapshot that could not be read.

    Raises:
        UndriftError: a run without snapshots.
    """
    monitor, step = Monitor(trainer, held_out, EXAMPLES), trainer.progress.step
    snapshots, notes = read_snapshots(trainer.folder, step)
    if not snapshots:
        raise UndriftError(
            f"{trainer.folder} keeps no snapshots of its averages yet; a run does from step 16 on, unless snapshots=0"
        )
    looks = {
        r["step"]: r["held_out"] for r in read_log(trainer.folder) if r.get("held_out") is not None and 0 < r["step"] <= step
    }
    best = min(looks, key=lambda s: looks[s], default=step)

    def candidate(name: str, weights: dict[str, Tensor], missed: float = 0.0, **about: float | int) -> Candidate:
        with trainer.holding(weights):
            return Candidate(name, monitor.losses(monitor.held_out), missed, about, weights)

    now = {Profile(step, gamma_of(length)): trainer.averages[name].weights for name, length in TRACKED.items()}
    snapshots |= {profile: {k: v.cpu() for k, v in weights.items()} for profile, weights in now.items()}
    raw = {k: v.clone() for k, v in trainer.denoiser.state_dict().items()}
    found = [candidate("raw weights", raw, step=step), candidate("average as tracked", trainer.ema, step=step)]
    near = min({profile.step for profile in snapshots}, key=lambda s: (abs(s - best), s))  # a mixture cannot end between two
    for at in dict.fromkeys([step, near]):
        for length in lengths:
            weights, missed = combine(snapshots, Profile(at, gamma_of(length)))
            placed = {k: v.to(trainer.device) for k, v in weights.items()}
            found.append(candidate(f"length {length:.2f} at step {at}", placed, missed, step=at, length=length))
    used = {k: v.to(trainer.device) for k, v in load(trainer.folder, device="cpu").denoiser.state_dict().items()}
    same = [i for i, c in enumerate(found) if all(torch.equal(v, used[k]) for k, v in c.weights.items())]
    if same:
        found[same[0]] = replace(found[same[0]], present=True)
    else:
        found.append(replace(candidate("as the model is now", used), present=True))
    return found, notes


def adopt(trainer: Trainer, chosen: Candidate) -> None:
    """Make a candidate the model that is sampled; the states, and so the training, stay as they are."""
    trained = trainer.model.trained
    trained.update(trainer.facts(), average={**chosen.about, "held_out": number(chosen.held_out)})
    write_model(trainer.model, {"raw": trainer.denoiser.state_dict(), "ema": chosen.weights}, trainer.folder)
