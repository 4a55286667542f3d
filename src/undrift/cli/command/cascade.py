"""`undrift cascade`."""

from __future__ import annotations

import argparse

from undrift.cascade import Cascade, load_cascade
from undrift.cli.parser import parse
from undrift.cli.shared import affordable, check_outputs, class_per_sample, usual_place, write_arrays
from undrift.error import OutputError, UndriftError
from undrift.model_file import load
from undrift.plot import picture


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift cascade LOW HIGH --out DIR`."""
    out, drawn = arguments.out, usual_place(arguments, arguments.out / "samples" / "grid.png")
    cascade = Cascade(load(arguments.low), load(arguments.high), arguments.augment)
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


def sample(arguments: argparse.Namespace) -> None:
    """`undrift sample` of a cascade: how many, which classes, and where to."""
    usual = vars(parse(["sample", str(arguments.run)]))
    if any(value != usual[name] for name, value in vars(arguments).items() if name not in ("n", "label", "seed", "out", "npz")):
        raise UndriftError(
            f"{arguments.run} is a cascade of two models: of the options, only -n, --class, --seed, --out and --npz are for both; "
            "choose the rest for each in Python (undrift.load_cascade)"
        )
    cascade = load_cascade(arguments.run)
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
        write_arrays(arguments.npz, {"x": x.numpy()} | ({} if named is None else {"labels": named.numpy()}))
    written = ", ".join(str(path) for path in (out, arguments.npz) if path is not None)
    print(f"{n} samples of {cascade.spec.shape}, augment {cascade.augment:g}: {written}")
