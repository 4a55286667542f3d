"""`undrift cascade`."""

from __future__ import annotations

import argparse

from undrift import picture
from undrift.cascade import Cascade
from undrift.cli.shared import check_writable
from undrift.error import OutputError, UndriftError
from undrift.model import load


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift cascade LOW HIGH --out DIR`."""
    out, drawn = arguments.out, arguments.out / "samples" / "grid.png"
    cascade = Cascade(load(arguments.low), load(arguments.high), arguments.augment)
    if not picture.drawable(cascade.spec):
        raise UndriftError(f"samples of shape {cascade.spec.shape} cannot be drawn; use undrift.Cascade in Python")
    check_writable(drawn)
    if out.is_dir() and any(out.iterdir()) and not (out / "cascade.json").is_file():
        raise OutputError(f"{out} is not empty and holds no cascade; choose another --out")
    classes = len(cascade.spec.classes)
    x = cascade.sample(10 * classes or 64, list(range(classes)) * 10 if classes else None, seed=arguments.seed)
    cascade.save(out)
    picture.save_image(picture.grid(cascade.spec.to_model(x), cascade.spec, classes or None), drawn)
    print(f"{len(x)} samples of {cascade.spec.shape}, augment {cascade.augment:g}: {drawn}; the cascade is in {out}")
