"""`undrift evaluate`."""

from __future__ import annotations

import argparse

from undrift.cli.shared import guidance_options, said, sampling_options
from undrift.error import UndriftError
from undrift.evaluate.captions import judge_captions
from undrift.evaluate.generative_classifier import classify_held_out
from undrift.evaluate.verdict import judge_run
from undrift.model import load


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift evaluate RUN`."""
    model = load(arguments.run, arguments.weights)
    if model.upscale is not None:
        raise UndriftError(
            f"{arguments.run} enlarges small pictures and draws none of its own; evaluate the model that draws those"
        )
    if arguments.generative_classifier:
        drawing = (
            arguments.scale,
            arguments.w,
            arguments.sampler,
            arguments.steps,
            arguments.grid,
            arguments.guide,
            arguments.interval,
        )
        if any(value is not None for value in drawing) or arguments.rescale:
            raise UndriftError("--generative-classifier draws no samples; leave out the options of sampling and guidance")
        for line in classify_held_out(model, arguments.run, arguments.n, arguments.data_dir, seed=arguments.seed).lines():
            print(line)
        return
    if model.reads_text:
        options = sampling_options(arguments, True) | guidance_options(arguments, model)
        print(f"{arguments.n} samples with {said(model, arguments, True)}")
        for line in judge_captions(model, arguments.run, arguments.n, **options).lines():
            print(line)
        return
    options = sampling_options(arguments, bool(model.spec.classes)) | guidance_options(arguments, model)
    print(f"{arguments.n} samples with {said(model, arguments, bool(model.spec.classes))}")
    for line in judge_run(model, arguments.run, arguments.n, arguments.data_dir, **options).lines():
        print(line)
