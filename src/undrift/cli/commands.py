"""What each command does. A command is a function of the parsed arguments and the time at which the program started."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from undrift import demo as demonstration
from undrift import picture
from undrift.config import SAMPLERS, parse_overrides
from undrift.error import OutputError, UndriftError
from undrift.evaluate.likelihood import likelihood_of_run, notes, table
from undrift.evaluate.verdict import judge_run
from undrift.guidance import guidance_scale
from undrift.model import Model, load, write_atomically
from undrift.noise import Noise
from undrift.sampler import State
from undrift.train.session import Stopped, train_run

Arguments = argparse.Namespace


def console() -> Console:
    """A terminal that does not colour numbers or fold lines."""
    return Console(highlight=False, soft_wrap=True, markup=False)


def train(arguments: Arguments, started: float) -> None:
    """`undrift train RECIPE [key=value ...]`."""
    out = arguments.out or Path("runs") / arguments.recipe
    overrides = parse_overrides(arguments.overrides)
    if arguments.data_dir is not None:
        overrides["data_dir"] = str(arguments.data_dir)
    try:
        train_run(arguments.recipe, overrides, out, arguments.fresh, console(), started)
    except Stopped as stop:
        print(f"\nundrift: {stop}. Go on with: undrift train {arguments.recipe} --out {out}")
        raise KeyboardInterrupt from None


def sample(arguments: Arguments, started: float) -> None:
    """`undrift sample RUN`."""
    model = load(arguments.run, arguments.weights)
    shown = picture.drawable(model.spec)
    out = arguments.out or (arguments.run / "samples" / "grid.png" if shown else None)
    if not shown and (arguments.out or arguments.strip or arguments.gif or not arguments.npz):
        raise UndriftError(f"samples of shape {model.spec.shape} cannot be drawn; ask for the numbers with --npz FILE")
    for path in (out, arguments.strip, arguments.gif, arguments.npz):
        if path is not None:
            check_writable(path)
    classes = len(model.spec.classes)
    usual = 1000 if len(model.spec.shape) == 1 else 10 * classes or 64
    n = usual if arguments.n is None else arguments.n
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    labels = class_per_sample(arguments.label, n, model)
    options = sampling_options(arguments, labels is not None)
    done: list[Path] = []
    y = model.draw(n, labels, **options)
    if out is not None:
        in_turn = arguments.label == "all" and classes and n % classes == 0
        picture.save_image(picture.grid(y, model.spec, classes if in_turn else None), out)
        done.append(out)
    if arguments.strip or arguments.gif:
        done += film(model, labels, n, options, arguments.strip, arguments.gif)
    if arguments.npz:
        arrays = {"x": model.spec.from_model(y).numpy()}
        if (numbers := model.labels(n, labels)) is not None:
            arrays["labels"] = numbers.numpy()

        def write(path: Path) -> None:
            with open(path, "wb") as handle:
                np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]

        write_atomically(arguments.npz, write)
        done.append(arguments.npz)
    print(f"{n} samples with {said(model, arguments, labels is not None)}: {', '.join(map(str, done))}")


def film(
    model: Model, labels: list[Any] | None, n: int, options: dict[str, Any], strip: Path | None, gif: Path | None
) -> list[Path]:
    """The first samples once more with every state kept: a strip of the noisy states, an animation of them.

    Images: up to 10 samples, one row each. Points: all of them in every panel.
    """
    rows = min(n, 10) if len(model.spec.shape) == 3 else n
    states: list[State] = []
    model.draw(rows, labels[:rows] if labels else None, callback=states.append, batch_size=rows, **options)
    process, noise = model.denoiser.process, Noise(range(rows)).fold("sample", options["seed"])
    x, moments = process.prior(states[0].x, noise), []
    for t, state in zip([process.t_max] + [float(s.t) for s in states], [None, *states], strict=True):
        alpha, sigma = process(states[0].t.new_tensor(t))
        if state is None or sigma < 6 * alpha:  # above that, nothing but noise can be seen
            # Noisy states are wide: bring them to the scale of the data.
            moments.append((x if state is None else state.x) / (alpha + sigma))
    done = []
    if strip is not None:
        picture.save_image(picture.strip(moments, model.spec), strip)
        done.append(strip)
    if gif is not None:
        frames = [picture.grid(y, model.spec, min(rows, 5)) for y in moments]
        picture.save_animation(frames, gif)
        done.append(gif)
    return done


def evaluate(arguments: Arguments, started: float) -> None:
    """`undrift evaluate RUN`."""
    model = load(arguments.run, arguments.weights)
    options = sampling_options(arguments, bool(model.spec.classes))
    print(f"{arguments.n} samples with {said(model, arguments, bool(model.spec.classes))}")
    for line in judge_run(model, arguments.run, arguments.n, arguments.data_dir, **options).lines():
        print(line)


def likelihood(arguments: Arguments, started: float) -> None:
    """`undrift likelihood RUN [DATA]`."""
    model = load(arguments.run, arguments.weights)
    out = arguments.out or arguments.run / "likelihood.png"
    check_writable(out)
    names = ("data_dir", "n", "given_class", "bound", "unit", "dequantize", "seed", "batch_size", "divergence", "probes", "steps")
    options = {name: getattr(arguments, name) for name in names}
    with console().status("measuring") as status:
        measured = likelihood_of_run(model, arguments.run, arguments.data, **options, tell=status.update)
    for line in table(measured) + notes(model, measured, arguments.divergence, arguments.probes, arguments.dequantize):
        print(line)
    picture.save_image(picture.histogram({m.name: m.flow.value for m in measured}, arguments.unit), out)
    print(f"histogram: {out}")


def info(arguments: Arguments, started: float) -> None:
    """`undrift info RUN`."""
    model = load(arguments.run)
    spec, parts, trained, usual = model.spec, model.parts, model.trained, model.sampling
    bounds = "unbounded" if spec.low is None else f"{spec.low:g} to {spec.high:g}{' (integers)' if spec.integer else ''}"
    network = ", ".join(f"{k}={v}" for k, v in parts["network"].items() if k != "kind")
    rows = {
        "run": arguments.run,
        "data": f"{trained.get('data', '?')}: shape {spec.shape}, values {bounds}",
        "classes": ", ".join(spec.classes) or "none",
        "network": f"{parts['network']['kind']} ({network}), {model.parameters:,} parameters",
        "process": model.denoiser.process,
        "target": f"{parts['target']}, sigma_data {parts['sigma_data']:g}",
        "trained": f"{trained.get('steps', 0)} steps, {trained.get('examples', 0):,} examples, "
                   f"{trained.get('seconds', 0):.0f} s, recipe {trained.get('recipe', '?')}",
        "samples with": f"{usual.sampler}, {usual.steps} steps on the {usual.grid} grid, "
                        f"guidance scale {usual.scale:g} (w = {usual.scale - 1:g})",
    }  # fmt: skip
    for name, value in rows.items():
        print(f"{name:>12}  {value}")


def demo(arguments: Arguments, started: float) -> None:
    """`undrift demo`."""
    if "=" in arguments.recipe:
        arguments.recipe, arguments.overrides = "digits", [arguments.recipe, *arguments.overrides]
    if arguments.recipe not in ("digits", "mnist"):
        raise UndriftError(f'the demo is of digits or mnist, not "{arguments.recipe}"; train that with undrift train')
    overrides = parse_overrides(arguments.overrides)
    if arguments.data_dir is not None:
        overrides["data_dir"] = str(arguments.data_dir)
    out = arguments.out or Path("runs") / arguments.recipe
    try:
        demonstration.demo(arguments.recipe, overrides, out, arguments.fresh, console(), started, film)
    except Stopped as stop:
        print(f"\nundrift: {stop}. Go on with the same command")
        raise KeyboardInterrupt from None


def sampling_options(arguments: Arguments, guided: bool) -> dict[str, Any]:
    """The options of `Model.draw` that the command line carries."""
    options = {k: getattr(arguments, k) for k in ("sampler", "steps", "grid", "seed")}
    if guided:
        options |= {"scale": arguments.scale, "w": arguments.w}
    elif arguments.scale is not None or arguments.w is not None:
        raise UndriftError("--scale and -w guide towards a class; name one with --class, on a model trained with classes")
    return options


def said(model: Model, arguments: Arguments, guided: bool) -> str:
    """How samples are drawn, in words; the guidance scale in both conventions."""
    usual = model.sampling
    sampler, steps = arguments.sampler or usual.sampler, usual.steps if arguments.steps is None else arguments.steps
    calls = SAMPLERS[sampler].evaluations(steps) if sampler in SAMPLERS else steps
    text = f"{sampler}, {steps} steps ({calls} evaluations)"
    if not guided:
        return text
    default = arguments.scale is None and arguments.w is None
    scale = usual.scale if default else float(guidance_scale(arguments.scale, arguments.w))
    return f"{text}, guidance scale {scale:g} (w = {scale - 1:g})"


def class_per_sample(text: str, n: int, model: Model) -> list[Any] | None:
    """One class per sample from `--class`, or None."""
    classes = model.spec.classes
    if text not in classes and (text == "none" or (text == "all" and not classes)):
        return None
    if text == "all" and "all" not in classes:
        return [i % len(classes) for i in range(n)]
    names = [word.strip() for word in text.split(",")]
    model.labels(len(names), names)  # says which one is unknown
    return [names[i % len(names)] for i in range(n)]


def check_writable(path: Path) -> None:
    """Before any work: can this file be written?

    Raises:
        OutputError: it cannot.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    suffix = path.suffix.lower()
    if suffix != ".npz" and Image.registered_extensions().get(suffix, "PNG") not in Image.SAVE:
        raise OutputError(f"{path}: pictures cannot be written as {suffix}; name a .png")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"{path} cannot be written: {folder} is not a folder that you may write to")
