"""Kinds of conditions by name: to add one, write its file and add its line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from undrift.recipe.conditions.base import ConditionKind
from undrift.recipe.conditions.measured import MeasuredOptions
from undrift.recipe.conditions.text import ReadText, TextOptions
from undrift.recipe.conditions.upscale import UpscaleOptions

__all__ = ["CONDITIONS", "ConditionKind", "MeasuredOptions", "ReadText", "TextOptions", "UpscaleOptions", "condition_of"]

CONDITIONS: dict[str, type[ConditionKind]] = {"text": TextOptions, "upscale": UpscaleOptions, "measured": MeasuredOptions}


def condition_of(description: Mapping[str, Any] | None) -> ConditionKind | None:
    """What a model is told, from the part "condition" of model.json. Raises ValueError for illegal values."""
    return None if description is None else CONDITIONS[description["kind"]].described().model_validate(description)
