"""Measure how likely a model finds data.

Training data beside held-out data, by the probability flow and by the variational bound; with a histogram.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.cli.types import folder, steps, whole


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, data, and how exactly to measure."""
    options.run_folder(parser)
    parser.add_argument("data", type=folder, nargs="?", help="a .npy or .npz file (default: the data of the run)")
    parser.add_argument(
        "-n", type=whole, default=256, metavar="N", help="how many examples of each set, drawn at random (default: 256)"
    )
    parser.add_argument("--unit", choices=("bits/dim", "nats"), default="bits/dim", help="unit of the result (default: bits/dim)")
    parser.add_argument(
        "--divergence",
        choices=("hutchinson", "exact"),
        default="hutchinson",
        help="how the divergence of the flow is computed: estimated with random probes (default), or exactly, which is slow",
    )
    parser.add_argument("--probes", type=whole, default=1, metavar="K", help="random probes for each example (default: 1)")
    parser.add_argument(
        "--steps", type=steps, default=32, metavar="N", help="Runge-Kutta steps, each of 4 evaluations (default: 32)"
    )
    parser.add_argument(
        "--dequantize",
        type=whole,
        metavar="K",
        help="for data of whole numbers: average over K draws of uniform noise added to each (default: 1); 0 adds none",
    )
    parser.add_argument("--given-class", action="store_true", help="measure log p(x | y), y being the class of each example")
    parser.add_argument("--no-bound", dest="bound", action="store_false", help="do not compute the variational bound")
    options.data_dir(parser)
    options.picture(parser, "the histogram (default: RUN/likelihood.png)")
    parser.add_argument("--batch-size", type=whole, default=64, metavar="N", help="examples computed at a time (default: 64)")
    options.seed_and_weights(parser, "another seed takes other examples, probes and noise (default: 0)")
    options.device(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Print a table, and draw the histogram."""
    from undrift.cli.inputs import model_of
    from undrift.cli.outputs import check_outputs, usual_place
    from undrift.evaluation.likelihood import likelihood_of_run, notes, table
    from undrift.plot import chart, picture
    from undrift.progress import SHORT, Bar

    model = model_of(arguments)
    out = arguments.out or usual_place(arguments, arguments.run / "likelihood.png")
    check_outputs(arguments, (out, None))
    names = ("data_dir", "n", "given_class", "bound", "unit", "dequantize", "seed", "batch_size", "divergence", "probes", "steps")
    chosen = {name: getattr(arguments, name) for name in names}
    with Bar("measuring", patience=SHORT) as bar:
        measured = likelihood_of_run(model, arguments.run, arguments.data, **chosen, tell=bar.tell)
    for line in table(measured) + notes(model, measured, arguments.divergence, arguments.probes, arguments.dequantize):
        print(line)
    picture.save_image(chart.histogram({m.name: m.flow.value for m in measured}, arguments.unit), out, "undrift likelihood")
    print(f"histogram: {out}")
