"""`undrift diagnose`."""

from __future__ import annotations

import argparse
import json

from undrift.cli.shared import affordable, console, picture_and_numbers
from undrift.diagnosis import diagnose, report
from undrift.diagnosis.picture import draw
from undrift.diagnosis.run import other_weights, smaller_runs
from undrift.model_file import load
from undrift.plot import picture
from undrift.storage import write_text


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift diagnose RUN`."""
    model = load(arguments.run, arguments.weights)
    out, numbers = picture_and_numbers(arguments, arguments.run / "diagnose.png")
    affordable(f"-n {arguments.n}", arguments.n, model.spec.size)
    smaller = smaller_runs(model, arguments.run, arguments.smaller, arguments.weights) if arguments.smaller else []
    name, other = other_weights(arguments.run, arguments.weights)
    with console().status("diagnosing") as status:
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
            other=other,
            smaller=smaller,
            seed=arguments.seed,
            tell=status.update,
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
