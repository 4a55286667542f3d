"""Tensors in named groups, in one sealed file beside the facts about them: the states and snapshots of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from undrift.schema import parse_json, validated
from undrift.tensorfile import Damaged, TensorFile, save_tensors

FOLDER = "state"
Groups = dict[str, dict[str, Tensor]]  # "raw", "optimizer", "scaler" and the name of each average, to tensors by name
_FACTS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def numbered(folder: Path, what: str) -> dict[int, Path]:
    """The files of a run's states that are named so and a step, by step, in order; copies by other names are none of them."""
    found = {p.stem.removeprefix(f"{what}-"): p for p in (folder / FOLDER).glob(f"{what}-*.safetensors")}
    return dict(sorted((int(step), path) for step, path in found.items() if step.isdecimal()))


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by `group.name`, as they are named in files."""
    return {f"{group}.{k}": v for group, weights in groups.items() for k, v in weights.items()}


def write_groups(path: Path, groups: Groups, facts: Mapping[str, Any], whole: Callable[[str], Tensor] | None = None) -> None:
    """Tensors in named groups, sealed with facts, written atomically and read back; `whole` as for `write_tensors`.

    Raises:
        OutputError: it cannot be written, or does not read back as it was written.
    """
    save_tensors(path, flat(groups), json.dumps(dict(facts)), whole)


def read_groups(path: Path) -> tuple[Groups, dict[str, Any]]:
    """All that `write_groups` wrote. Raises as `Saved`."""
    saved = Saved(path)
    return {group: {k: saved.tensor(f"{group}.{k}") for k in shapes} for group, shapes in saved.groups.items()}, saved.facts


class Saved:
    """A file that `write_groups` wrote, found to be whole. Its tensors are read when they are asked for.

    Attributes:
        facts: What was sealed with them.
        groups: The shapes of the tensors by their names, by group.

    Raises:
        Damaged: the file holds something else.
        ModelError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.file = TensorFile(path)
        if not self.file.mark:
            raise Damaged(f"{path} is damaged (it has no seal)")
        try:
            self.facts: dict[str, Any] = validated(parse_json(self.file.facts, finite=False), _FACTS)
        except ValueError as error:
            raise Damaged(f"{path} is damaged (its facts: {error})") from None
        self.groups: dict[str, dict[str, torch.Size]] = {}
        for name, shape in self.file.shapes.items():
            group, _, rest = name.partition(".")
            self.groups.setdefault(group, {})[rest] = shape

    @property
    def data_hash(self) -> str | None:
        """Of the data that it was trained on; None for a state of a version that did not say."""
        model = self.facts.get("model")
        trained = model.get("trained") if isinstance(model, dict) else None
        return trained.get("data_hash") if isinstance(trained, dict) else None

    def tensor(self, name: str, rows: slice = slice(None)) -> Tensor:
        """A tensor by `group.name`, or some of its rows, on the CPU."""
        return self.file.tensor(name, rows)
