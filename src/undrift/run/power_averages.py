"""Averages of the weights of any length, made after the training.

Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models", sec. 3 and app. C.

Two power-function averages are tracked, and snapshots of both are kept now and then. The average of any other length, at any step so
far, is then close to a linear combination of the snapshots: the one whose weights over the steps are nearest by least squares.

A length is the standard deviation of the weights over the steps, as a share of the run so far, `sigma_rel` in the paper:

    sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3))                                                   eq. 126
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from undrift.error import ModelError
from undrift.run.groups import numbered, read_groups

TRACKED = {"power-050": 0.05, "power-100": 0.10}  # sigma_rel, the paper's, by the name in files (in thousandths)
LENGTHS = (0.02, 0.03, 0.05, 0.07, 0.10, 0.14, 0.20)  # offered to the user


def gamma_of(length: float) -> float:
    """The power of an average of this length: the root of gamma^3 + 7 gamma^2 + (16 - l^-2) gamma + 12 - l^-2 that is positive.

    Raises:
        ValueError: not in (0, 0.28], where the power is not negative.
    """
    if not 0 < length <= 0.28:
        raise ValueError(f"the length of an average is a share of the run in (0, 0.28], got {length}.")
    t = length**-2
    companion = torch.tensor([[-7.0, t - 16, t - 12], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    return float(torch.linalg.eigvals(companion).real.max())


class Profile(NamedTuple):
    """The weights over the steps of a power-function average: `(gamma + 1) k^gamma / step^(gamma + 1)` for k up to `step`."""

    step: int
    gamma: float


def product(a: Profile, b: Profile) -> float:
    """The inner product of two profiles over the steps (app. C.2, eq. 141)."""
    early, late = (a, b) if a.step <= b.step else (b, a)
    ratio = (early.step / late.step) ** late.gamma / late.step
    return (a.gamma + 1) * (b.gamma + 1) / (a.gamma + b.gamma + 1) * ratio


def coefficients(known: Sequence[Profile], wanted: Profile) -> tuple[Tensor, float]:
    """How to mix averages of known profiles into one of another.

    Returns:
        `(len(known),)` float64 coefficients that sum to one, and the distance of the mixed profile from the wanted one as a share of
        its norm: 0 is the average itself.
    """
    gram = torch.tensor([[product(a, b) for b in known] for a in known], dtype=torch.float64)
    right = torch.tensor([product(a, wanted) for a in known], dtype=torch.float64)
    scale = gram.diagonal().rsqrt()  # unit profiles: late snapshots of a long run are tiny as densities
    unit = scale[:, None] * gram * scale
    mixed = scale * torch.linalg.lstsq(unit, (scale * right)[:, None], driver="gelsd").solution[:, 0]
    mixed = mixed / mixed.sum()
    norm = product(wanted, wanted)
    missed = (mixed @ gram @ mixed - 2 * mixed @ right + norm) / norm
    return mixed, float(missed.clamp(min=0).sqrt())


def snapshot_paths(folder: Path) -> dict[int, Path]:
    """The snapshots of a run, by step."""
    return numbered(folder, "average")


def read_snapshots(folder: Path, last: int) -> tuple[dict[Profile, dict[str, Tensor]], list[str]]:
    """The averages kept up to step `last`, by their profile; and a line for each file that is damaged."""
    found: dict[Profile, dict[str, Tensor]] = {}
    notes: list[str] = []
    for step, path in snapshot_paths(folder).items():
        if step > last:
            continue
        try:
            groups, _ = read_groups(path)
            found |= {Profile(step, gamma_of(s)): groups[name] for name, s in TRACKED.items()}
        except (ModelError, KeyError) as error:
            notes.append(f"left out: {error}")
    return found, notes


def combine(snapshots: Mapping[Profile, Mapping[str, Tensor]], wanted: Profile) -> tuple[dict[str, Tensor], float]:
    """The average of another profile from snapshots, and how far its profile is off (see `coefficients`).

    Raises:
        ValueError: no snapshots.
    """
    if not snapshots:
        raise ValueError("there are no snapshots to combine.")
    mix, missed = coefficients(list(snapshots), wanted)
    newest = snapshots[max(snapshots)]
    total = {k: torch.zeros(v.shape, dtype=torch.float64) for k, v in newest.items() if v.is_floating_point()}
    for share, weights in zip(mix.tolist(), snapshots.values(), strict=True):
        for k, whole in total.items():
            whole.add_(weights[k].double(), alpha=share)
    return {k: total[k].float() if k in total else v for k, v in newest.items()}, missed
