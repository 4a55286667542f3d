"""What a run learns from besides its data: the teacher of a distillation, and the weights that a fine-tuning begins with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from undrift.denoiser import AnyDenoiser
from undrift.error import RecipeError
from undrift.guidance import WhereTold
from undrift.model import Model
from undrift.model_file import load
from undrift.recipe.build import same_network
from undrift.recipe.objectives import DistillationOptions
from undrift.recipe.recipe import Recipe
from undrift.run.guide import named_guide


def teacher_of(recipe: Recipe, model: Model) -> AnyDenoiser | None:
    """The guided denoiser that a run of `objective.kind=distillation` learns from, seen through the run's own process; else None.

    Samples whose condition is left out are not guided: the student stays unconditional where the teacher was.

    Raises:
        UndriftError: a teacher, or what guides it, that is not there or is of other data.
    """
    o = recipe.objective
    if not isinstance(o, DistillationOptions):
        return None
    assert o.teacher is not None
    teacher = load(o.teacher, device="cpu")
    if teacher.spec != model.spec or teacher.parts.get("condition") != model.parts.get("condition"):
        raise RecipeError(f"objective.teacher={o.teacher} was trained on other data than this run; take a teacher of the same")
    if recipe.label_dropout and not teacher.knows_without:
        raise RecipeError(
            f"objective.teacher={o.teacher} was never trained without what it is told, so it cannot teach that; give label_dropout=0 "
            "sampling.scale=1"
        )
    plain: AnyDenoiser = teacher.denoiser
    guided = teacher.leaning(o.scale, named_guide(o.guide, Path(o.teacher), teacher), o.interval)
    if teacher.examples or teacher.parts.get("condition"):
        guided = WhereTold(guided, plain)
    return guided if guided.process == model.denoiser.process else guided.using(model.denoiser.process)


def weights_hash(denoiser: AnyDenoiser) -> str:
    """A digest of all weights of a denoiser: with another teacher it would be another run."""
    digest = hashlib.sha256()
    for name, value in sorted(denoiser.state_dict().items()):
        digest.update(name.encode() + value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def begin_with(folder: str, model: Model) -> None:
    """Give a fresh model the averaged weights of another run.

    Raises:
        UndriftError: no model there, or one of another network, other shapes or classes.
    """
    other = load(folder, device="cpu")
    fits = {
        "network": same_network(other.parts["network"], model.parts["network"]),
        "condition": other.parts.get("condition") == model.parts.get("condition"),
        "target": other.parts["target"] == model.parts["target"],
    }
    for what, same in fits.items():
        if not same:
            raise RecipeError(
                f"start={folder} has another {what} than this recipe; begin with its own recipe (undrift train {folder} ...)"
            )
    if other.spec.shape != model.spec.shape or len(other.spec.classes) != len(model.spec.classes):
        raise RecipeError(
            f"start={folder} knows data of shape {other.spec.shape} and {len(other.spec.classes)} classes, these have "
            f"{model.spec.shape} and {len(model.spec.classes)}; leave start out"
        )
    model.denoiser.load_state_dict(other.denoiser.state_dict())
