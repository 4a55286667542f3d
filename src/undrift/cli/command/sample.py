"""`undrift sample`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from undrift import picture
from undrift.cli.shared import check_writable, class_per_sample, said, sampling_options
from undrift.error import UndriftError
from undrift.model import Model, load, write_atomically
from undrift.noise import Noise
from undrift.sampler import State


def run(arguments: argparse.Namespace, started: float) -> None:
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
