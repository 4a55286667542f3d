"""A run: the folder that a training writes, and all that it holds."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from undrift.data import Dataset, as_trained, load_split
from undrift.error import ModelError, UndriftError
from undrift.model import Model
from undrift.recipe.read import read_recipe
from undrift.recipe.recipe import Recipe
from undrift.run.log import read_log

CONFIG = "config.yaml"  # the recipe of a run


class Run:
    """The folder of a run: its recipe, data and log, each read when it is asked for.

    Its model is what `undrift.load` reads, and that of an earlier step `load_earlier`.

    Args:
        folder: As `undrift train --out` names it.
        data_dir: Where the data are now, if no longer where they were.
    """

    def __init__(self, folder: str | Path, data_dir: str | None = None) -> None:
        self.folder, self.data_dir = Path(folder), data_dir

    def __str__(self) -> str:
        """Its folder."""
        return str(self.folder)

    @cached_property
    def recipe(self) -> Recipe:
        """Everything that decided it. Raises RecipeError or ModelError: there is none, or it is damaged."""
        if (self.folder / "settings.json").is_file() and not (self.folder / CONFIG).is_file():
            raise ModelError(
                f"{self.folder} was trained by undrift.fit and has no recipe that names its data; ask in Python, as with "
                "undrift.evaluate(model, train=..., held_out=...)"
            )
        return read_recipe(self.folder / CONFIG)

    def data(self) -> tuple[Dataset, Dataset]:
        """Training and held-out data, as its recipe says. Raises UndriftError: they cannot be read."""
        options = {k: v for k, v in self.recipe.data.items() if k != "kind"}
        kind, place = self.recipe.data.get("kind", ""), self.data_dir or self.recipe.data_dir
        return load_split(kind, place, self.recipe.held_out, self.recipe.seed, **options)

    def data_of(self, model: Model) -> tuple[Dataset, Dataset]:
        """Training and held-out data of the model that was trained in it.

        Raises:
            UndriftError: they cannot be read, or are not what the model was trained on.
        """
        train, held_out = as_trained(*self.data(), model.trained.get("data_hash"))
        if train.spec.classes != model.spec.classes or train.spec.shape != model.spec.shape:
            raise UndriftError(f"{train.name} has other shapes or classes than the model was trained on; give its own --data-dir")
        if model.trained.get("data_hash", train.content_hash()) != train.content_hash():
            raise UndriftError(f"{train.name} is not what the model was trained on; give its own --data-dir")
        return train, held_out

    def records(self) -> list[dict[str, Any]]:
        """Its log so far, also while it trains. Raises OSError: there is a log that cannot be read."""
        return read_log(self.folder)
