"""What the five papers contain, where it is implemented, and what shows it: `python docs/coverage.py` writes coverage.md.

In coverage.txt each id has what it is, the places (`in`: `file:name` under src/undrift) and the proofs (`by`: `file:test` under tests,
or the name of a study).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
FAMILIES = {
    "F": ("Forward processes", 14), "O": ("Objectives", 16), "N": ("Networks and conditioning", 8), "S": ("Samplers", 11),
    "L": ("Likelihood and latent space", 4), "G": ("Conditional generation and guidance", 8), "E": ("Evaluation", 11),
    "T": ("Theory", 9), "X": ("Experiments", 19),
}  # fmt: skip


class Row(NamedTuple):
    """One id."""

    key: str
    what: str
    places: list[str]
    proofs: list[str]


def rows() -> list[Row]:
    """The table, read."""
    found = []
    for block in re.split(r"\n(?=\S)", (HERE / "coverage.txt").read_text(encoding="utf-8").strip()):
        head, places, proofs = re.fullmatch(r"(.+?)\n    in (.+?)\n    by (.+)", block, re.S).groups()
        key, _, what = head.partition(": ")
        found.append(Row(key, what, *([" ".join(p.split()) for p in part.split(";")] for part in (places, proofs))))
    return found


def link(text: str, folder: str) -> str:
    """A place, a test or a study as a Markdown link."""
    file, _, name = text.partition(":")
    return f"[`{name}`](../{folder}/{file})" if name else f"[{text}](studies.md#{text})"


def page() -> str:
    """The page."""
    lines = [
        "# Coverage", "", "What the five papers contain, where it is implemented, and which test or [study](studies.md) shows it. Written by",
        "`python docs/coverage.py` from coverage.txt; a test fails where a file, a name, a test or a study does not exist.", "",
    ]  # fmt: skip
    for letter, (family, _) in FAMILIES.items():
        lines += [f"## {family}", "", "| | what | where | shown by |", "|---|---|---|---|"]
        for row in rows():
            if row.key[0] == letter:
                where, shown = (
                    ", ".join(link(t, folder) for t in texts)
                    for texts, folder in ((row.places, "src/undrift"), (row.proofs, "tests"))
                )
                lines.append(f"| {row.key} | {row.what} | {where} | {shown} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    (HERE / "coverage.md").write_text(page(), encoding="utf-8")
