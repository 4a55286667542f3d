"""`undrift sample`."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from undrift.cli.command import cascade
from undrift.cli.shared import (
    affordable,
    check_drawable,
    check_outputs,
    class_per_sample,
    guidance_options,
    prompt_per_sample,
    said,
    sampling_options,
    usual_place,
    write_arrays,
)
from undrift.data.files import read_examples
from undrift.error import UndriftError
from undrift.guidance import clip, dynamic_threshold
from undrift.model import Model
from undrift.model_file import load
from undrift.noise import Noise
from undrift.plot import picture
from undrift.sampler import State
from undrift.storage import Place


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift sample RUN`."""
    if (arguments.run / "cascade.json").is_file():
        cascade.sample(arguments)
        return
    model = load(arguments.run, arguments.weights)
    shown = picture.drawable(model.spec)
    drawn = arguments.out or arguments.strip or arguments.gif
    usual_out = usual_place(arguments, arguments.run / "samples" / "grid.png") if shown and not arguments.npy else None
    out = arguments.out or usual_out
    check_drawable(arguments, model, shown, ("out", "strip", "gif"), ("npz", "npy"))
    if arguments.npy and (drawn or arguments.npz):
        raise UndriftError("--npy writes the numbers alone, batch by batch; ask for pictures or --npz in another call")
    if arguments.prompt and not model.reads_text:
        raise UndriftError("this model reads no text; leave out --prompt (a class is named with --class)")
    pictures = ((out, None), (arguments.strip, None), (arguments.gif, ".gif"))
    check_outputs(arguments, *pictures, (arguments.npz, ".npz"), (arguments.npy, ".npy"))
    classes, texts = len(model.spec.classes), model.reads_text
    start = None if arguments.start is None else read_examples(arguments.start, model.spec)
    usual = 1000 if len(model.spec.shape) == 1 else 8 * len(arguments.prompt or model.examples) if texts else 10 * classes or 64
    n = arguments.n if arguments.n is not None else usual if start is None else len(start)
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    if n * model.spec.size > 2**40:
        raise UndriftError(f"-n {n}: that is over a terabyte; ask for fewer")
    affordable(f"-n {n}", 2 if arguments.npy else n, model.spec.size)
    usual_class = "all" if start is None else "none"
    labels: list[Any] | None
    labels = prompt_per_sample(arguments, n, model) if texts else class_per_sample(arguments.label, n, model, usual_class)
    guidance = guidance_options(arguments, model)
    guided = labels is not None or isinstance(guidance["guide"], Model)
    options = sampling_options(arguments, guided) | edits(arguments, model) | guidance
    if start is not None:
        options |= {"start": start[torch.arange(n) % len(start)], "strength": arguments.strength}
    elif arguments.strength != 1:
        raise UndriftError("--strength is of --from: name the data to start from")
    if arguments.npy:
        model.sample(n, labels, out=arguments.npy.path, **options)
        print(f"{n} samples with {said(model, arguments, guided)}: {arguments.npy}")
        return
    done: list[Place] = []
    x = model.sample(n, labels, **options)
    if out is not None:
        kinds = classes if (arguments.label or usual_class) == "all" else 0
        kinds = len({*(labels or [])}) if texts else kinds
        columns = kinds if kinds and n % kinds == 0 else None
        picture.save_image(picture.grid(model.spec.to_model(x), model.spec, columns), out, "undrift sample")
        done.append(out)
    if arguments.strip or arguments.gif:
        done += film(model, labels, n, options, arguments.strip, arguments.gif)
    if arguments.npz:
        arrays = {"x": x.numpy()}
        if texts:
            arrays["captions"] = np.array(labels)
        elif (found := model.labels(n, labels)) is not None:
            arrays["labels"] = found.numpy()
        write_arrays(arguments.npz, arrays)
        done.append(arguments.npz)
    print(f"{n} samples with {said(model, arguments, guided)}: {', '.join(map(str, done))}")


def edits(arguments: argparse.Namespace, model: Model) -> dict[str, Any]:
    """`--clip` and `--threshold` as the edit of `Model.sample`."""
    if arguments.clip and arguments.threshold is not None:
        raise UndriftError("--clip and --threshold both hold the predicted data to their range; choose one")
    if (arguments.clip or arguments.threshold is not None) and model.spec.low is None:
        raise UndriftError("these data have no range to hold the predictions to; leave out --clip and --threshold")
    if arguments.clip:
        return {"edit": clip(-1, 1)}
    return {} if arguments.threshold is None else {"edit": dynamic_threshold(arguments.threshold)}


def film(
    model: Model, labels: list[Any] | None, n: int, options: dict[str, Any], strip: Place | None, gif: Place | None,
    by: str = "undrift sample",
) -> list[Place]:  # fmt: skip
    """The first samples once more with every state kept: a strip of the noisy states, an animation of them, and who wrote them.

    Images: up to 10 samples, one row each. Points: all of them in every panel.
    """
    rows = min(n, 10) if len(model.spec.shape) > 1 else n
    states: list[State] = []
    if "start" in options:  # what it starts from, in place of pure noise
        options = options | {"start": options["start"][:rows]}
    model.sample(rows, labels[:rows] if labels else None, callback=states.append, batch_size=rows, **options)
    process, moments = model.denoiser.process, []
    if "start" in options:
        moments.append(model.to_model(options["start"]).float())
    else:
        x = process.prior(states[0].x, Noise(range(rows)).fold("sample", options["seed"]))
        moments.append(x / sum(process(states[0].t.new_tensor(process.t_max))))
    for state in states:
        alpha, sigma = process(state.t)
        if sigma < 6 * alpha:  # above that, nothing but noise can be seen
            moments.append(state.x / (alpha + sigma))  # noisy states are wide: bring them to the scale of the data
    done: list[Place] = []
    if strip is not None:
        picture.save_image(picture.strip(moments, model.spec), strip, by)
        done.append(strip)
    if gif is not None:
        frames = [picture.grid(y, model.spec, min(rows, 5)) for y in moments]
        picture.save_animation(frames, gif, by)
        done.append(gif)
    return done
