"""What guides a run's samples, by name: as `undrift sample --guide` and a recipe's teacher say it."""

from __future__ import annotations

import re
from pathlib import Path

from undrift.guidance import NoisyClassifier
from undrift.model import Model
from undrift.model_file import beside, load
from undrift.noisy_classifier import load_classifier
from undrift.run.earlier import load_earlier


def named_guide(name: str | None, run: Path, model: Model) -> NoisyClassifier | Model | None:
    """The guide of a name.

    Args:
        name: "classifier", the number of an earlier step of the run, the folder of a weaker run; None: none.
        run, model: Whose samples are to be guided.

    Raises:
        UndriftError: it is not there, or does not fit.
    """
    if name is None:
        return None
    if name == "classifier":
        return load_classifier(run, model)
    if (step := step_named(name)) is None:
        return load(name, **beside(model))
    return load_earlier(run, step, **beside(model))


def step_named(name: str) -> int | None:
    """The step that a guide's name is the number of; None if it is something else."""
    return int(name) if re.fullmatch(r"\s*[+-]?\d{1,1000}\s*", name) else None
