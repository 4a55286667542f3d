"""Find out why samples are not better, and what to change.

Splits their error into parts: of the prior, the score, the steps, guidance, and the averaging of the weights.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.cli.types import folder, whole

SHARED = True


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, and how it is sampled."""
    options.run_folder(parser)
    parser.add_argument("-n", type=whole, default=1000, metavar="N", help="samples for each part (default: 1000)")
    parser.add_argument(
        "--smaller",
        type=folder,
        nargs="+",
        metavar="RUN",
        help="two or more runs on the same data and process, with smaller networks or shorter trainings: their losses are extrapolated "
        "to the lowest that any size could reach",
    )
    options.sampling(parser)
    options.metric(parser)
    options.data_dir(parser)
    options.picture(parser, "the picture; all numbers go beside it (default: RUN/diagnose.png)")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Print the parts and what to do; write the picture and the numbers."""
    import json

    from undrift.cli.inputs import model_of
    from undrift.cli.outputs import picture_and_numbers
    from undrift.diagnosis import diagnose, report
    from undrift.diagnosis.picture import draw
    from undrift.diagnosis.run import other_weights, smaller_runs
    from undrift.plot import picture
    from undrift.progress import SHORT, Bar
    from undrift.storage import affordable, write_text

    model = model_of(arguments)
    out, numbers = picture_and_numbers(arguments, arguments.run / "diagnose.png")
    affordable(f"-n {arguments.n}", arguments.n, model.spec.size)
    smaller = smaller_runs(model, arguments.run, arguments.smaller, arguments.weights) if arguments.smaller else []
    name, other = other_weights(model, arguments.run, arguments.weights)
    with Bar("diagnosing", patience=SHORT) as bar:
        found = diagnose(
            model,
            n=arguments.n,
            folder=arguments.run,
            data_dir=arguments.data_dir,
            sampler=arguments.sampler,
            steps=arguments.steps,
            grid=arguments.grid,
            scale=arguments.scale,
            w=arguments.w,
            metric=arguments.metric,
            other=other,
            smaller=smaller,
            seed=arguments.seed,
            tell=bar.tell,
        )
    way = found.way
    guided = "" if found.task.cond is None else f", guidance scale {way.scale:g} (w = {way.scale - 1:g})"
    sampler = arguments.sampler or model.sampling.sampler
    print(
        f"{arguments.run}: {sampler}, {way.steps} step{'s' * (way.steps != 1)}{guided}; weights {arguments.weights}, against {name}"
    )
    for line in [*report.table(found), "", *report.words(found)]:
        print(line)
    picture.save_image(draw(found), out, "undrift diagnose")
    text = json.dumps(report.as_json(found), indent=1)
    write_text(numbers, text + "\n")
    print(f"picture: {out}; all numbers: {numbers}")
