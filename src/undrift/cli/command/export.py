"""Write a model as a file that runs without undrift.

A .pt2 is a program of torch.export; it is checked against the model before it is put in its place.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.cli.types import name, output


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, a format and a file."""
    options.run_folder(parser)
    parser.add_argument("--to", type=name, default="torch", metavar="FORMAT", help="torch (default): a program of torch.export")
    parser.add_argument("--out", type=output, metavar="FILE", help="the file (default: RUN/model with the suffix of the format)")
    options.weights(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Write the file, and say how it is called."""
    from undrift.cli.outputs import check_outputs
    from undrift.formats import format_named
    from undrift.formats.export import export
    from undrift.model_file import load

    suffix = format_named(arguments.to).suffix
    place = arguments.out or arguments.run / f"model{suffix}"
    check_outputs(arguments, (place, suffix))
    model = load(arguments.run, arguments.weights, "cpu")
    export(model, place, arguments.to)
    told = ", label" * bool(model.spec.classes)
    print(f"{place}: data, noise = program(x, t{told}); program = torch.export.load(FILE).module()")
