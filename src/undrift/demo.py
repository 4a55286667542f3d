"""The demonstration: train, sample, judge, look, and what to try next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from undrift.evaluation.verdict import Verdict, data_of, judge_run
from undrift.model import Model
from undrift.model_file import load
from undrift.plot import picture
from undrift.plot.film import film
from undrift.training.session import train_run


def demo(
    recipe: str,
    overrides: dict[str, Any],
    out: Path,
    fresh: bool,
    console: Console,
    started: float,
    place: Callable[[Path], Path],
) -> Verdict:
    """Train `recipe` (or take its run up again), then show all that a newcomer wants to see.

    Args:
        recipe: digits or mnist.
        overrides: As for `undrift train`.
        out: The run's folder.
        fresh: Start over, putting an existing run aside.
        console: Where to speak.
        started: `time.perf_counter()` when the program started.
        place: Where a file goes instead, if somebody else's stands there.
    """
    train_run(recipe, overrides, out, fresh, console, started)
    model = load(out)
    classes = len(model.spec.classes)
    names = ("grid.png", "denoising.png", "denoising.gif", "neighbours.png")
    grid, strip, gif, nearest = (place(out / "samples" / name) for name in names)
    labels = [i % classes for i in range(10 * classes)]
    samples = model.draw(len(labels), labels, seed=0)
    picture.save_image(picture.grid(samples, model.spec, classes), grid, "undrift demo")
    film(model, list(range(classes)), classes, {"seed": 0}, strip, gif, "undrift demo")
    console.print("\nsampling 1,000 digits, and judging them with a classifier trained on the real ones ...")
    verdict = judge_run(model, out, 1000)
    picture.save_image(pairs(verdict, model, out, overrides.get("data_dir")), nearest, "undrift demo")
    usual = model.sampling
    console.print(
        f"\nWhat it learnt ({usual.sampler}, {usual.steps} steps, guidance scale {usual.scale:g}, "
        f"w = {usual.scale - 1:g}; 1 is none)"
    )
    for line in verdict.lines():
        console.print(f"  {line}")
    console.print("\nLook at")
    for path, text in ((grid, "ten digits of each class"), (strip, "from noise to digit, left to right"),
                       (gif, "the same, moving"), (nearest, "of each digit the sample nearest to a training image "
                        "(above: sample, below: image)")):  # fmt: skip
        console.print(f"  {path}: {text}")
    console.print("\nTry next (after `source .venv/bin/activate`)")
    console.print(f"  undrift sample {out} --class 7 --scale 0 --out anything.png     what does it draw when the 7 is ignored?")
    console.print(f"  undrift sample {out} --sampler ancestral --steps 200 --strip noise.png     DDPM's way, twenty times slower")
    console.print("  undrift train toy data.name=swiss_roll     points in the plane, in seconds; then undrift sample runs/toy")
    return verdict


def pairs(verdict: Verdict, model: Model, out: Path, data_dir: str | None) -> Any:
    """Of each class the sample most similar to a training image, above that image."""
    train, _ = data_of(out, data_dir)
    score = torch.where(verdict.asked == torch.arange(len(verdict.classes))[:, None], verdict.similarity, -2.0)
    top = score.argmax(1)
    real = train.batch(verdict.neighbours[top])[0]
    return picture.grid(torch.cat([verdict.samples[top], real]), model.spec, len(top))
