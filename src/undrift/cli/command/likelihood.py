"""`undrift likelihood`."""

from __future__ import annotations

import argparse

from undrift.cli.shared import check_outputs, console, usual_place
from undrift.evaluation.likelihood import likelihood_of_run, notes, table
from undrift.model_file import load
from undrift.plot import chart, picture


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift likelihood RUN [DATA]`."""
    model = load(arguments.run, arguments.weights)
    out = arguments.out or usual_place(arguments, arguments.run / "likelihood.png")
    check_outputs(arguments, (out, None))
    names = ("data_dir", "n", "given_class", "bound", "unit", "dequantize", "seed", "batch_size", "divergence", "probes", "steps")
    options = {name: getattr(arguments, name) for name in names}
    with console().status("measuring") as status:
        measured = likelihood_of_run(model, arguments.run, arguments.data, **options, tell=status.update)
    for line in table(measured) + notes(model, measured, arguments.divergence, arguments.probes, arguments.dequantize):
        print(line)
    picture.save_image(chart.histogram({m.name: m.flow.value for m in measured}, arguments.unit), out, "undrift likelihood")
    print(f"histogram: {out}")
