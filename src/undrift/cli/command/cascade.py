"""Join a model of small pictures and one that enlarges them.

Writes both to one folder, with samples/grid.png. Then: undrift sample DIR, or undrift.load_cascade in Python.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.cli.types import folder, number, seed
from undrift.error import OutputError, UndriftError


def grammar(parser: argparse.ArgumentParser) -> None:
    """The two runs, and where both go."""
    parser.add_argument("low", type=folder, help="a run that draws small pictures: undrift train digits data.downsample=2")
    parser.add_argument("high", type=folder, help="a run that enlarges them: undrift train upscale")
    parser.add_argument("--out", type=folder, metavar="DIR", required=True, help="the folder for both")
    parser.add_argument(
        "--augment", type=number, metavar="S", default=0.0, help="how much noise to add to the small pictures, 0 (default) to 0.5"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another seed draws other samples (default: 0)")
    options.computing(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Save both, and draw a grid of samples."""
    from undrift.cascade import Cascade
    from undrift.cli.inputs import model_of
    from undrift.cli.outputs import check_outputs, usual_place
    from undrift.plot import picture

    out, drawn = arguments.out, usual_place(arguments, arguments.out / "samples" / "grid.png")
    cascade = Cascade(model_of(arguments, arguments.low), model_of(arguments, arguments.high), arguments.augment)
    if not picture.drawable(cascade.spec):
        raise UndriftError(f"samples of shape {cascade.spec.shape} cannot be drawn; use undrift.Cascade in Python")
    check_outputs(arguments, (drawn, None))
    if out.is_dir() and any(out.iterdir()) and not (out / "cascade.json").is_file():
        raise OutputError(f"{out} is not empty and holds no cascade; choose another --out")
    classes = len(cascade.spec.classes)
    x = cascade.sample(10 * classes or 64, list(range(classes)) * 10 if classes else None, seed=arguments.seed)
    cascade.save(out)
    picture.save_image(picture.grid(cascade.spec.to_model(x), cascade.spec, classes or None), drawn, "undrift cascade")
    print(f"{len(x)} samples of {cascade.spec.shape}, augment {cascade.augment:g}: {drawn}; the cascade is in {out}")
