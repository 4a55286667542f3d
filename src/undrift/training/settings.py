"""The settings of a training: how long, in which batches, at which rate, and what is written and looked at on the way.

They know nothing of recipes. A recipe has the same keys with the same defaults, and `Settings.of` takes them from there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from undrift.argument import choice, real, whole
from undrift.device import PRECISIONS
from undrift.error import ModelError, RecipeError, short
from undrift.schema import parse_json
from undrift.storage import read_text, reason, write_text
from undrift.synonyms import hint

NAME = "settings.json"
FIT = "fit"  # what stands for the name of a recipe, where there is none

_SCHEDULE = "the schedule of the rate is stretched or cut to the new end, and goes on from where the run is on it"
_NUMERICS = "sums are rounded otherwise from here on: as good, but not bit for bit what it would have been"
_LOOKS = "weights are not touched by it"

# What may change between two sessions of one run, and what that means. Everything else decides what is learnt, and stays.
MAY_CHANGE = {
    "steps": _SCHEDULE, "minutes": _SCHEDULE,
    "learning_rate": "every step from here on is scaled by it; what was learnt stays",
    "clip": "gradients are held to the new norm from here on", "weight_decay": "weights shrink at the new rate from here on",
    "device": _NUMERICS, "precision": _NUMERICS, "accumulate": _NUMERICS, "compile": _NUMERICS, "shard": _NUMERICS,
    "threads": _NUMERICS,
    "recompute": "memory is traded for time; gradients are the same",
    "patience": "it decides when the run stops, nothing else", "until": "it decides when the run stops, nothing else",
    "log_every": _LOOKS, "monitor_every": _LOOKS, "quality_every": _LOOKS, "sample_every": _LOOKS, "tensorboard": _LOOKS,
    "wandb": _LOOKS, "checkpoint_every": "at most so many steps are lost by a crash", "keep": "so many states stay on the disk",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How a network is trained.

    Args:
        steps: Optimiser steps until the end; each sees one batch.
        minutes: Or minutes of training until the end; whichever comes first.
        batch_size: Examples in a step.
        accumulate: Parts of a batch that are computed one after the other, to save memory.
        recompute: Compute the activations of a U-Net's blocks twice instead of keeping them, to save memory.
        shard: Several processes keep a part of the network each.
        compile: Compile the network with `torch.compile`; "graphs": and launch it as CUDA graphs.
        optimizer: "adamw", or "muon" (`undrift.training.muon`): Muon for the matrices between hidden layers and AdamW for the rest.
        learning_rate, weight_decay, betas: Of the optimiser, the rate after the warm-up.
        warmup: Steps over which the learning rate rises from zero.
        decay_from: Share of the run after which the learning rate falls to zero, by half a cosine; 1: never.
        clip: Largest norm of the gradient.
        ema_halflife: Of the averaged weights, in examples.
        label_dropout: Share of examples whose class is left out, so that guidance is possible.
        seed: Of the order of the examples and of the noise.
        device: "auto" is the GPU where there is one.
        precision: "auto" is bfloat16 on a GPU that has it, "fast" also on a CPU; else "float32", "bfloat16" or "float16".
        threads: Of the CPU; None: as many as there are cores that nobody else wants, or as the run began with.
        log_every: Steps between two lines of the log.
        checkpoint_every: Steps between two states on the disk.
        keep: States on the disk, besides the best by held-out loss.
        snapshots: Most of the averages that are kept, for averages of other lengths afterwards; 0: none.
        sample_every: Steps between two previews; 0: none.
        monitor_every: Steps between two looks at the held-out loss; 0: none.
        monitor_examples: Examples that a look is of.
        quality_every: Steps between two measurements of a few samples; 0: none.
        patience: Stop after so many looks without a better one; None: never.
        until: "converged": stop as soon as the verdict says so; "end": go on.
        tensorboard, wandb: Also write TensorBoard's events, or to Weights & Biases.
        recipe: The recipe's name, or "fit".

    Raises:
        ValueError: a number that makes no sense, an unknown name, or no end: neither steps nor minutes.
        TypeError: something that is no number.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 128
    accumulate: int = 1
    recompute: bool = False
    shard: bool = False
    compile: bool | Literal["graphs"] = False
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = 100
    decay_from: float = 0.0
    clip: float = 1.0
    ema_halflife: float = 50_000
    label_dropout: float = 0.1
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    log_every: int = 50
    checkpoint_every: int = 1000
    keep: int = 2
    snapshots: int = 16
    sample_every: int = 1000
    monitor_every: int = 250
    monitor_examples: int = 256
    quality_every: int = 1000
    patience: int | None = None
    until: str = "end"
    tensorboard: bool = False
    wandb: bool = False
    recipe: str = FIT

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a training needs an end: give steps=2000, or minutes=10.")
        for name in ("steps", "patience"):
            if getattr(self, name) is not None:
                self._set(name, whole(getattr(self, name), name, 1, 10**12))
        if self.threads is not None:
            self._set("threads", whole(self.threads, "threads", 1, 1024))
        for name, (least, most) in _WHOLE.items():
            self._set(name, whole(getattr(self, name), name, least, most))
        for name in ("minutes", "learning_rate", "clip", "ema_halflife"):
            if getattr(self, name) is not None:
                self._between(name, 0, math.inf, open_below=True)
        self._between("weight_decay", 0, math.inf)
        self._between("decay_from", 0, 1)
        self._between("label_dropout", 0, 1, open_above=True)
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise ValueError(f"`betas` must be two numbers in [0, 1), such as (0.9, 0.99), got {short(self.betas)}.")
        self._set("betas", tuple(real(beta, "betas") for beta in self.betas))
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"`betas` must lie in [0, 1), got {self.betas}.")
        for name in ("recompute", "shard", "tensorboard", "wandb"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"`{name}` is True or False, got {short(getattr(self, name))}.")
        if not isinstance(self.compile, bool) and self.compile != "graphs":
            raise TypeError(f'`compile` is True, False or "graphs", got {short(self.compile)}.')
        choice(self.precision, "precision", PRECISIONS)
        choice(self.until, "until", ("end", "converged"))
        choice(self.optimizer, "optimizer", ("adamw", "muon"))
        if self.shard and self.optimizer == "muon":
            raise ValueError("shard leaves each process a part of a matrix, and optimizer='muon' turns whole ones; use adamw.")
        self._set("device", str(self.device))
        if not self.monitor_every and (self.patience or self.until == "converged"):
            raise ValueError("patience and until='converged' go by the held-out loss; give monitor_every, such as 250.")
        if self.shard and self.compile:
            raise ValueError("shard and compile exclude each other; choose one.")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _between(self, name: str, low: float, high: float, open_below: bool = False, open_above: bool = False) -> None:
        value = real(getattr(self, name), name)
        if not low <= value <= high or (open_below and value == low) or (open_above and value == high):
            span = f"{'(' if open_below else '['}{low:g}, {high:g}{')' if open_above or high == math.inf else ']'}"
            raise ValueError(f"`{name}` must lie in {span}, got {value:g}.")

    @classmethod
    def of(cls, recipe: Any) -> Self:
        """Those of a recipe."""
        return cls(**{f.name: getattr(recipe, f.name) for f in fields(cls)})

    @classmethod
    def named(cls, **given: Any) -> Self:
        """Those that are given by name, all others as usual. Raises TypeError for an unknown name."""
        known = [f.name for f in fields(cls) if f.name != "recipe"]
        for name in given:
            if name not in known:
                raise TypeError(f"`{name}` is no setting of a training{hint(name, known)}.")
        return cls(**given)

    @property
    def goal(self) -> str:
        """Where it ends, in words."""
        return f"{self.steps} steps" if self.steps else f"{self.minutes:g} minutes"

    @property
    def end(self) -> str:
        """Where it ends, as a setting."""
        return f"steps={self.steps}" if self.steps else f"minutes={self.minutes:g}"


_WHOLE = {  # least and most, as in recipes
    "batch_size": (1, 2**20), "accumulate": (1, 2**20), "warmup": (0, 10**12), "seed": (0, 2**32 - 1), "log_every": (1, 10**12),
    "checkpoint_every": (1, 10**12), "keep": (1, 10**6), "snapshots": (0, 10**4), "sample_every": (0, 10**12),
    "monitor_every": (0, 10**12), "monitor_examples": (2, 10**7), "quality_every": (0, 10**12),
}  # fmt: skip


def write_settings(folder: Path, settings: Settings, functions: Mapping[str, str]) -> None:
    """Write them to the folder of a run, whole or not at all.

    Args:
        folder: The run's.
        settings: Those that it is trained with.
        functions: What else it is trained with, objects of Python, each by a name for people and for the next session.

    Raises:
        OutputError: it cannot be done.
    """
    write_text(folder / NAME, json.dumps(asdict(settings) | {"functions": dict(functions)}, indent=1) + "\n")


def read_settings(folder: Path) -> tuple[Settings, dict[str, str]]:
    """The settings that a run was last trained with, and the names of the functions.

    Raises:
        ModelError: there are none, or a file that is damaged.
    """
    path = folder / NAME
    try:
        found = parse_json(read_text(path))
        functions = {str(k): str(v) for k, v in found.pop("functions", {}).items()}
        return Settings(**(found | {"betas": tuple(found["betas"])})), functions
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no run that was trained by fit (no {NAME})") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read ({reason(error)}); restore it, or train in another folder") from None


def changes(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any], may_change: Mapping[str, str], cure: str) -> list[str]:
    """What has changed between two sessions of a run, one line each with what that means.

    Args:
        folder: The run's, for messages.
        old, new: Choices by dotted key.
        may_change: What a change means, by key or by its first part; a key that is not there decides what is learnt.
        cure: What to do where it would be another run.

    Raises:
        RecipeError: a change that would make it another run.
    """
    lines = []
    for key in [k for k in {**old, **new} if old.get(k) != new.get(k)]:
        meaning = may_change.get(key) or may_change.get(key.partition(".")[0])
        before, after = short(old.get(key)), short(new.get(key))
        if meaning is None:
            raise RecipeError(f"{folder} was trained with {key}={before}, not {after}: that would be another run; {cure}")
        lines.append(f"{key} is now {after} (was {before}): {meaning}")
    return lines
