"""`undrift evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from undrift.cli.shared import affordable, check_outputs, console, guidance_options, said, sampling_options, usual_place
from undrift.error import UndriftError
from undrift.evaluation.captions import judge_captions
from undrift.evaluation.generative_classifier import classify_held_out
from undrift.evaluation.judgement import judge, reference_of
from undrift.evaluation.likelihood import likelihood_of_run, notes, table
from undrift.evaluation.page import write_report
from undrift.evaluation.report import lines
from undrift.model import Model
from undrift.model_file import load


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift evaluate RUN [RUN ...]`."""
    folders = list(dict.fromkeys(arguments.runs))
    models = {folder: load(folder, arguments.weights) for folder in folders}
    for folder, model in models.items():
        if model.upscale is not None:
            raise UndriftError(f"{folder} enlarges small pictures and draws none of its own; evaluate the model that draws those")
    model, alone = models[folders[0]], _of(arguments, folders[0])
    if arguments.generative_classifier or any(m.reads_text for m in models.values()):
        if len(folders) > 1 or arguments.likelihood or arguments.inception or arguments.out is not None:
            what = "--generative-classifier" if arguments.generative_classifier else "a model of captions"
            raise UndriftError(
                f"{what} is judged alone and without a report; name one run, without --likelihood, --inception and --out"
            )
        (_generative if arguments.generative_classifier else _captions)(model, alone)
        return
    _report(models, arguments)


def _report(models: dict[Path, Model], arguments: argparse.Namespace) -> None:
    """Judge all runs, then write both files and print the summary."""
    folders = list(models)
    name = "report" if len(folders) == 1 else "comparison"
    page_file = usual_place(arguments, (arguments.out or folders[0]) / f"{name}.html", ".json")
    check_outputs(arguments, (page_file, ".html"), (page_file.with_suffix(".json"), ".json"))
    affordable(f"-n {arguments.n}", arguments.n, max(model.spec.size for model in models.values()))
    drawing = {}
    for folder, model in models.items():
        own, guided = _of(arguments, folder), bool(model.spec.classes)
        drawing[folder] = sampling_options(own, guided) | guidance_options(own, model), said(model, own, guided)
    with console().status("training what judges") as status:
        named = {str(f): m for f, m in models.items()}
        on = reference_of(named, folders, arguments.n, arguments.data_dir, arguments.seed, arguments.inception, status.update)
        found = []
        for folder, model in models.items():
            status.update(f"judging {folder}")
            options, drawn = drawing[folder]
            likelihood = _likelihood(model, _of(arguments, folder)) if arguments.likelihood else []
            found.append(judge(model, folder, on, arguments.n, drawn, likelihood, **options))
    numbers = write_report(found, on.train, page_file)
    for line in lines(found):
        print(line)
    print(f"report: {page_file}, all numbers: {numbers}")


def _likelihood(model: Model, arguments: argparse.Namespace) -> list[str]:
    """Of 256 examples of the training and of the held-out data, by the flow and by the bound."""
    measured = likelihood_of_run(model, arguments.run, data_dir=arguments.data_dir, seed=arguments.seed)
    return table(measured) + notes(model, measured, "hutchinson", 1, None)


def _captions(model: Model, arguments: argparse.Namespace) -> None:
    options = sampling_options(arguments, True) | guidance_options(arguments, model)
    print(f"{arguments.n} samples with {said(model, arguments, True)}")
    for line in judge_captions(model, arguments.run, arguments.n, **options).lines():
        print(line)


def _generative(model: Model, arguments: argparse.Namespace) -> None:
    names = ("scale", "w", "sampler", "steps", "grid", "guide", "interval")
    if any(getattr(arguments, name) is not None for name in names) or arguments.rescale:
        raise UndriftError("--generative-classifier draws no samples; leave out the options of sampling and guidance")
    for line in classify_held_out(model, arguments.run, arguments.n, arguments.data_dir, seed=arguments.seed).lines():
        print(line)


def _of(arguments: argparse.Namespace, folder: Path) -> argparse.Namespace:
    """The arguments as if for one run alone."""
    return argparse.Namespace(**{**vars(arguments), "run": folder})
