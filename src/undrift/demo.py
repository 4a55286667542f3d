"""The demonstration: train, sample, judge, look, and what to try next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from undrift.data import Dataset
from undrift.evaluation.judgement import Judgement, judge
from undrift.evaluation.page import write_report
from undrift.evaluation.report import asked_for, remembered
from undrift.metrics.reference import Reference
from undrift.model_file import load
from undrift.plot import picture
from undrift.plot.film import film
from undrift.run import Run
from undrift.training.session import train_run


def demo(
    recipe: str,
    overrides: dict[str, Any],
    out: Path,
    fresh: bool,
    console: Console,
    started: float,
    place: Callable[..., Path],
) -> Judgement:
    """Train `recipe` (or take its run up again), then show all that a newcomer wants to see.

    Args:
        recipe: digits or mnist.
        overrides: As for `undrift train`.
        out: The run's folder.
        fresh: Start over, putting an existing run aside.
        console: Where to speak.
        started: `time.perf_counter()` when the program started.
        place: Where a file goes instead, if somebody else's stands there, or at one of the suffixes that are written beside it.
    """
    train_run(recipe, overrides, out, fresh, console, started)
    model = load(out)
    classes = len(model.spec.classes)
    names = ("samples/grid.png", "samples/denoising.png", "samples/denoising.gif", "samples/neighbours.png")
    grid, strip, gif, nearest = (place(out / name) for name in names)
    report = place(out / "report.html", ".json")
    labels = [i % classes for i in range(10 * classes)]
    samples = model.draw(len(labels), labels, seed=0)
    picture.save_image(picture.grid(samples, model.spec, classes), grid, "undrift demo")
    film(model, list(range(classes)), classes, {"seed": 0}, strip, gif, "undrift demo")
    console.print("\nsampling 1,000 digits, and judging them with a classifier trained on the real ones ...")
    usual = model.sampling
    drawn = f"{usual.sampler}, {usual.steps} steps, guidance scale {usual.scale:g} (w = {usual.scale - 1:g})"
    train, held_out = Run(out, overrides.get("data_dir")).data_of(model)
    found = judge(model, out, Reference(train, held_out, 1000, cache=out, device=model.device), 1000, drawn, [], seed=0)
    picture.save_image(pairs(found, train), nearest, "undrift demo")
    write_report([found], train, report)
    console.print(
        f"\nWhat it learnt ({usual.sampler}, {usual.steps} steps, guidance scale {usual.scale:g}, "
        f"w = {usual.scale - 1:g}; 1 is none)"
    )
    for line in [*asked_for(found), *remembered(found.memories[0])]:
        console.print(f"  {line}")
    console.print("\nLook at")
    for path, text in ((grid, "ten digits of each class"), (strip, "from noise to digit, left to right"),
                       (gif, "the same, moving"), (nearest, "of each digit the sample nearest to a training image "
                        "(above: sample, below: image)"),
                       (report, "every metric of the samples beside that of real digits")):  # fmt: skip
        console.print(f"  {path}: {text}")
    console.print("\nTry next (after `source .venv/bin/activate`)")
    console.print(f"  undrift sample {out} --class 7 --scale 0 --out anything.png     what does it draw when the 7 is ignored?")
    console.print(f"  undrift sample {out} --sampler ancestral --steps 200 --strip noise.png     DDPM's way, twenty times slower")
    console.print("  undrift train toy data.name=swiss_roll     points in the plane, in seconds; then undrift sample runs/toy")
    return found


def pairs(found: Judgement, train: Dataset) -> Any:
    """Of each class the sample most similar to a training image, above that image."""
    assert found.asked is not None
    alike = found.memories[0]
    score = torch.where(found.asked == torch.arange(len(train.spec.classes))[:, None], alike.likeness, -2.0)
    top = score.argmax(1)
    real = train.batch(alike.rows[top])[0]
    return picture.grid(torch.cat([found.samples[top], real]), train.spec, len(top))
