"""Every key of a recipe, from the schema: `python docs/recipe_keys.py` writes recipe_keys.md."""

from __future__ import annotations

from pathlib import Path

from undrift.recipe.keys import every
from undrift.recipe.tables import GRIDS, SAMPLERS

HERE = Path(__file__).resolve().parent
ABOUT = """# Recipe keys

A run is decided by its recipe, and every choice in it is a key: `undrift train digits steps=500 process.kind=vp network.width=64`. This page
is written from the schema by `python docs/recipe_keys.py`. `undrift train RECIPE --help` shows the same keys as a recipe has them.
"""


def page() -> str:
    """The page."""
    lines = [ABOUT]
    for place, rows in every().items():
        lines += [f"## {place}", "", "| key | default | type | |", "|---|---|---|---|"]
        lines += [f"| `{key}` | {_cell(value)} | {_cell(kind)} | {_cell(what)} |" for key, value, kind, what in rows]
        lines.append("")
    names = {"Samplers": SAMPLERS, "Grids": GRIDS}
    for what, table in names.items():
        lines += [f"{what}: {', '.join(f'`{name}`' for name in table)}.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    (HERE / "recipe_keys.md").write_text(page(), encoding="utf-8")
