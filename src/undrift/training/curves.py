"""The log of a run, to look at: small curves in characters, a table by noise level, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from undrift.error import UndriftError
from undrift.plot.chart import Point, chart

Records = Sequence[dict[str, Any]]
# What is drawn: the name, and the field of the record.
CURVES = {
    "training": "loss", "held out": "held_out", "held out, raw": "held_out_raw", "trained examples": "trained_on",
}  # fmt: skip
_BLOCKS = "▁▂▃▄▅▆▇█"


def curve(records: Records, key: str) -> list[tuple[int, float]]:
    """`(step, value)` of one field, from the first step on."""
    return [(r["step"], r[key]) for r in records if r["step"] > 0 and r.get(key) is not None]


def spark(values: Sequence[float], low: float, high: float, width: int = 32) -> str:
    """Values as a line of block characters between two heights: each the mean of its share of them."""
    count = min(width, len(values))
    text = ""
    for i in range(count):
        part = values[i * len(values) // count : (i + 1) * len(values) // count]
        place = (sum(part) / len(part) - low) / (high - low) if high > low else 0.0
        text += _BLOCKS[round(max(0.0, min(1.0, place)) * (len(_BLOCKS) - 1))]
    return text


def lines(records: Records, figures: dict[str, Any]) -> list[str]:
    """Curves (each between its own lowest and highest), floors, noise levels and speed, for the terminal."""
    drawn = {name: [v for _, v in curve(records, key)] for name, key in CURVES.items()}
    text = [
        f"  {name:<17} {values[-1]:<9.4g} {spark(values, min(values), max(values))}" for name, values in drawn.items() if values
    ]
    floors = {
        "floor_law": "the law itself, on held-out examples",
        "floor_memoriser_trained_on": "remembering all, on trained examples",
        "floor_memoriser_held_out": "remembering all, on held-out examples",
    }
    text += [f"  {name:<38} {figures[key]:.4g}" for key, name in floors.items() if figures.get(key) is not None]
    looks = [r for r in records if r.get("levels")]
    if looks:
        text.append("  by noise level (log-SNR)    held out   raw        trained")
        for low, high, _, *losses in looks[-1]["levels"]:
            level = f"{'' if low is None else f'{low:g}'} to {'' if high is None else f'{high:g}'}".strip()
            text.append(f"    {level:<25} {'  '.join(f'{v:<9.4g}' if v is not None else 'not finite' for v in losses)}".rstrip())
    if "quality" in figures:
        text.append(
            "  samples: " + ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in figures["quality"].items() if v is not None)
        )
    norms = [f"{name} {figures[key]:.3g}" for key, name in (("grad_norm", "gradient norm"), ("weight_norm", "weight norm"))
             if figures.get(key) is not None]  # fmt: skip
    speed = [f"{figures['examples_per_second']:.0f} examples/s"] if "examples_per_second" in figures else []
    memory = [f"at most {figures['peak_memory_mib']:,} MiB"] if figures.get("peak_memory_mib") else []
    return text + ([f"  {', '.join(norms + speed + memory)}"] if norms + speed + memory else [])


def picture(records: Records, most: int = 60) -> Image.Image:
    """All curves over the steps, on a logarithmic axis; of long ones, at most so many points, evenly spread there.

    Raises:
        UndriftError: nothing to draw yet.
    """
    drawn = {}
    for name, key in CURVES.items():
        points = curve(records, key)
        if points:
            chosen = sorted({round(len(points) ** (i / (most - 1))) - 1 for i in range(most)})
            drawn[name] = [Point(float(points[i][0]), points[i][1], 0.0) for i in chosen]
    if not drawn:
        raise UndriftError("the log holds no losses yet, so there is nothing to draw; wait for the first steps")
    return chart(drawn, "step", "loss")
