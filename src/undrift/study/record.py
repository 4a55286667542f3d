"""Results on the disk: NAME.json with every finding, and NAME.png."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from PIL import Image

from undrift.model import write_atomically
from undrift.picture import save_image
from undrift.study.base import Finding, Result
from undrift.study.figure import few_colours


def save(result: Result, folder: Path) -> tuple[Path, Path]:
    """Write both files, the picture first. Raises OutputError if that cannot be done."""
    image, numbers = folder / f"{result.study}.png", folder / f"{result.study}.json"
    save_image(few_colours(result.figure), image)
    kept = {k: v for k, v in vars(result).items() if k != "figure"} | {"findings": [vars(f) for f in result.findings]}
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    write_atomically(numbers, lambda p: p.write_text(text + "\n", encoding="utf-8"))
    return image, numbers


def read(name: str, folder: Path) -> Result | None:
    """The result of a study that was kept in a folder; None where there is none, or one that cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        with Image.open(folder / f"{name}.png") as image:
            figure = image.convert("RGB")
        findings = tuple(Finding(**f) for f in kept.pop("findings"))
        return Result(**kept | {"findings": findings, "models": tuple(kept["models"]), "figure": figure})
    return None
