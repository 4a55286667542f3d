"""`undrift evaluate`."""

from __future__ import annotations

import argparse

from undrift.cli.shared import said, sampling_options
from undrift.evaluate.verdict import judge_run
from undrift.model import load


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift evaluate RUN`."""
    model = load(arguments.run, arguments.weights)
    options = sampling_options(arguments, bool(model.spec.classes))
    print(f"{arguments.n} samples with {said(model, arguments, bool(model.spec.classes))}")
    for line in judge_run(model, arguments.run, arguments.n, arguments.data_dir, **options).lines():
        print(line)
