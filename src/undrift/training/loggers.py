"""The log, sent on as it is written: to TensorBoard and to Weights & Biases, where the recipe asks for them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from undrift.error import UndriftError
from undrift.storage import read_text, reason, write_text
from undrift.training.settings import Settings


class Boards:
    """The boards of a recipe (`tensorboard=true`, `wandb=true`); closes them at the end of the `with`.

    Weights & Biases keeps to its own settings: `WANDB_MODE=offline` writes to RUN/wandb and sends nothing.

    Args:
        settings: What is asked for.
        folder: The run's; TensorBoard's events go there, to `tensorboard/`.
        step: Where the session goes on: what a killed one wrote beyond it does not count.
        config: All choices of the run, for Weights & Biases; default: the settings.

    Raises:
        UndriftError: a package that is asked for is not there.
    """

    def __init__(self, settings: Settings, folder: Path, step: int, config: Mapping[str, Any] | None = None) -> None:
        self.writer: Any = None
        self.wandb: Any = None
        if settings.tensorboard:
            tensorboard = _package("tensorboard")
            self.writer = tensorboard.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        if settings.wandb:
            package = _package("wandb")
            self.wandb = package.init(
                project="undrift", name=folder.name, dir=str(folder), id=_name_for(folder / "wandb"), resume="allow",
                config=asdict(settings) if config is None else dict(config),
            )  # fmt: skip

    def __enter__(self) -> Boards:
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()
        if self.wandb is not None:
            self.wandb.finish()

    def add(self, record: dict[str, Any]) -> None:
        """Send on the numbers of a record, by their dotted names."""
        numbers = flat(record)
        step = int(numbers.pop("step"))
        if self.writer is not None:
            for name, value in numbers.items():
                self.writer.add_scalar(name.replace(".", "/"), value, step)
        if self.wandb is not None and numbers:
            self.wandb.log(numbers, step=step)


def flat(record: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a record: those of a part by `part.name`, those of a level of noise by `levels.from_to.name`."""
    found: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif name == "levels":
            for low, high, _, *losses in value:
                place = f"levels.{'' if low is None else f'{low:g}'}_{'' if high is None else f'{high:g}'}."
                kinds = zip(("held_out", "held_out_raw", "trained_on"), losses, strict=True)
                found |= {place + kind: loss for kind, loss in kinds if loss is not None}
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[prefix + name] = value
    return found


def _name_for(folder: Path) -> str:
    """The name by which the board knows the run: made up once, so that a session that goes on goes on there too."""
    path = folder / "run-id.txt"
    try:
        return read_text(path, 100).strip()
    except FileNotFoundError:
        name = secrets.token_hex(4)
        write_text(path, name)
        return name
    except (OSError, ValueError) as error:
        raise UndriftError(f"{path} cannot be read ({reason(error)}); delete it, and the run gets a new name there") from None


def check_packages(settings: Settings) -> None:
    """Before any work: can the packages be imported that a recipe asks for? Raises UndriftError."""
    for name in _MODULES:
        if getattr(settings, name):
            _package(name)


_MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}  # by the name of the package, which is that of the key


def _package(name: str) -> Any:
    try:
        return import_module(_MODULES[name])
    except ImportError:
        raise UndriftError(f"{name}=true needs the package {name}: pip install {name}, or leave it out") from None
