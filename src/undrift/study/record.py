"""Keeps results on disk: NAME.json with every finding, and NAME.png."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from PIL import Image

from undrift.plot.picture import save_image
from undrift.schema import parse_json
from undrift.storage import open_file, read_text, write_text
from undrift.study.base import MISPRINT, OURS, PAPER, VERDICTS, Finding, Result
from undrift.study.figure import few_colours


def save(result: Result, folder: Path) -> tuple[Path, Path]:
    """Write both files, the picture first. Raises OutputError if that cannot be done."""
    image, numbers = folder / f"{result.study}.png", folder / f"{result.study}.json"
    save_image(few_colours(result.figure), image, "undrift study")
    kept = {k: v for k, v in vars(result).items() if k != "figure"} | {"findings": [vars(f) for f in result.findings]}
    write_text(numbers, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return image, numbers


def read(name: str, folder: Path) -> Result | None:
    """The result of a study that was kept in a folder; None where there is none, or one that cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = parse_json(read_text(folder / f"{name}.json"), finite=False)
        with open_file(folder / f"{name}.png") as file, Image.open(file, formats=["PNG"]) as image:
            figure = image.convert("RGB")
        findings = tuple(Finding(**f) for f in kept.pop("findings"))
        result = Result(**kept | {"findings": findings, "models": tuple(kept["models"]), "figure": figure})
        return result if _whole(result, name) else None
    return None


def _whole(result: Result, name: str) -> bool:
    """Whether what was read can be shown: words where there should be words, numbers where numbers, rows of one length."""
    texts = [result.settings, result.key, *result.models, *(v for f in result.findings for v in vars(f).values())]
    texts += [cell for row in result.table for cell in row]
    return (
        result.study == name
        and all(isinstance(t, str) for t in texts)
        and all(f.verdict in VERDICTS.values() and f.kind in (PAPER, MISPRINT, OURS) for f in result.findings)
        and all(isinstance(v, int | float) for v in (result.seconds, result.processor))
        and len({len(row) for row in result.table}) <= 1
    )
