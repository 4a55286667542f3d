"""Draw samples from a trained model."""

from __future__ import annotations

import argparse
from typing import Any

from undrift.cli import options
from undrift.cli.types import folder, number, output, whole
from undrift.error import UndriftError

SHARED = True


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, what to draw, how, and where to."""
    options.run_folder(parser)
    parser.add_argument("-n", type=whole, metavar="N", help="how many (default: 10 of each class; points: 1000)")
    options.class_name(
        parser,
        "a class by name or number; several, with commas; all: every class in turn (default); or none: no class (default with --from). "
        "A name that has a comma, or is all or none, goes in double quotes: '\"a, b\",c'",
    )
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT", help='for a model that reads text: what to draw, "a three next to a seven"'
    )
    options.sampling(parser)
    options.guidance(parser)
    options.picture(parser, "the picture of all samples (default: RUN/samples/grid.png)")
    parser.add_argument(
        "--strip", type=output, metavar="PNG", help="also a strip from noise to data, a row for each of the first 10 samples"
    )
    parser.add_argument("--gif", type=output, metavar="GIF", help="also the same as an animation")
    parser.add_argument(
        "--from",
        dest="start",
        type=folder,
        metavar="FILE",
        help="add noise to these data, and sample from there (image to image): .npy, .npz or a picture",
    )
    parser.add_argument(
        "--strength", type=number, default=1.0, metavar="S", help="with --from: how far back to noise, above 0 to 1 (default: 1)"
    )
    parser.add_argument("--clip", action="store_true", help="hold the prediction to the range of the data in every step")
    parser.add_argument(
        "--threshold",
        type=number,
        metavar="Q",
        help="hold it to the Q quantile of each sample instead, such as 0.995 (dynamic thresholding)",
    )
    parser.add_argument(
        "--npy", type=output, metavar="NPY", help="only the numbers, written batch by batch: any -n, little memory"
    )
    options.numbers(parser, "also the numbers: x in the units of the data, labels")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Draw, write, and say how the samples were drawn."""
    import numpy as np
    import torch

    from undrift.cli.drawing import bar, edits, guidance_options, said, sampling_options
    from undrift.cli.inputs import class_per_sample, classes_named, model_of, prompt_per_sample
    from undrift.cli.outputs import check_drawable, check_outputs, usual_place, write_arrays
    from undrift.data.files import read_examples
    from undrift.model import Model
    from undrift.plot import picture
    from undrift.plot.film import film
    from undrift.storage import Place, affordable

    if (arguments.run / "cascade.json").is_file():
        _cascade(arguments)
        return
    model = model_of(arguments)
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
    asked = [] if texts else classes_named(arguments.label, model) or []
    usual = (
        1000 if len(model.spec.shape) == 1 else 8 * len(arguments.prompt or model.examples) if texts else 10 * len(asked) or 64
    )
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
    how = sampling_options(arguments, guided) | edits(arguments, model) | guidance
    if start is not None:
        how |= {"start": start[torch.arange(n) % len(start)], "strength": arguments.strength}
    elif "strength" in arguments.given:
        raise UndriftError("--strength is of --from: name the data to start from")
    if arguments.npy:
        with bar("sampling"):
            model.sample(n, labels, out=arguments.npy.path, **how)
        print(f"{n} samples with {said(model, arguments, guided)}: {arguments.npy}")
        return
    done: list[Place] = []
    with bar("sampling"):
        x = model.sample(n, labels, **how)
    if out is not None:
        kinds = classes if (arguments.label or usual_class) == "all" else 0
        kinds = len({*(labels or [])}) if texts else kinds
        columns = kinds if kinds and n % kinds == 0 else None
        picture.save_image(picture.grid(model.spec.to_model(x), model.spec, columns), out, "undrift sample")
        done.append(out)
    if arguments.strip or arguments.gif:
        done += film(model, labels, n, how, arguments.strip, arguments.gif, "undrift sample")
    if arguments.npz:
        arrays = {"x": x.numpy()}
        if texts:
            arrays["captions"] = np.array(labels)
        elif (found := model.labels(n, labels)) is not None:
            arrays["labels"] = found.numpy()
        write_arrays(arguments.npz, arrays, "undrift sample")
        done.append(arguments.npz)
    print(f"{n} samples with {said(model, arguments, guided)}: {', '.join(map(str, done))}")


def _cascade(arguments: argparse.Namespace) -> None:
    """The same of a cascade: how many, which classes, and where to."""
    from undrift.cascade import load_cascade
    from undrift.cli.inputs import class_per_sample
    from undrift.cli.outputs import check_outputs, usual_place, write_arrays
    from undrift.plot import picture
    from undrift.storage import affordable

    if arguments.given - {"run", "n", "label", "seed", "out", "npz", "device", "precision"}:
        raise UndriftError(
            f"{arguments.run} is a cascade of two models: of the options, only -n, --class, --seed, --device, --precision, --out and --npz are for both; "
            "choose the rest for each in Python (undrift.load_cascade)"
        )
    cascade = load_cascade(arguments.run, arguments.device, precision=arguments.precision)
    usual_out = usual_place(arguments, arguments.run / "samples" / "grid.png")
    out, classes = arguments.out or usual_out, len(cascade.spec.classes)
    check_outputs(arguments, (out, None), (arguments.npz, ".npz"))
    n = 10 * classes or 64 if arguments.n is None else arguments.n
    if n < 1:
        raise UndriftError(f"-n {n}: ask for at least one sample")
    affordable(f"-n {n}", n, cascade.spec.size)
    labels = class_per_sample(arguments.label, n, cascade.low)
    x = cascade.sample(n, labels, seed=arguments.seed)
    kinds = classes if arguments.label in (None, "all") and classes and n % classes == 0 else None
    picture.save_image(picture.grid(cascade.spec.to_model(x), cascade.spec, kinds), out, "undrift sample")
    if arguments.npz:
        named = cascade.low.labels(n, labels)
        write_arrays(arguments.npz, {"x": x.numpy()} | ({} if named is None else {"labels": named.numpy()}), "undrift sample")
    written = ", ".join(str(path) for path in (out, arguments.npz) if path is not None)
    print(f"{n} samples of {cascade.spec.shape}, augment {cascade.augment:g}: {written}")
