"""Judge samples: every metric beside that of real held-out data.

Also finds copies of training data, and counts the classes. Writes RUN/report.html and RUN/report.json. Several runs on the same data are
compared, with the same noise, in comparison.html and comparison.json in the folder of the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from undrift.cli import options, types
from undrift.error import UndriftError

if TYPE_CHECKING:
    from undrift.model import Model

SHARED = True


def grammar(parser: argparse.ArgumentParser) -> None:
    """Runs, what to measure, and how to sample."""
    parser.add_argument(
        "runs", type=types.folder, nargs="+", metavar="run", help="the folder of a run, or of several on the same data"
    )
    parser.add_argument("-n", type=types.whole, default=1000, metavar="N", help="how many samples to judge (default: 1000)")
    parser.add_argument(
        "--generative-classifier",
        action="store_true",
        help="judge no samples, but the model as a classifier: how often does it tell the class of held-out examples?",
    )
    parser.add_argument(
        "--likelihood", action="store_true", help="also how likely the model finds training and held-out data (slow)"
    )
    parser.add_argument(
        "--inception",
        type=types.folder,
        metavar="FILE",
        help="also FID and other distances in the features of the Inception network, with the weights in this file, "
        "pt_inception-2015-12-05-6726825d.pth (slow)",
    )
    parser.add_argument(
        "--out", type=types.folder, metavar="DIR", help="the folder of the report (default: that of the first run)"
    )
    options.data_dir(parser)
    options.sampling(parser)
    options.guidance(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Judge runs, and write the report."""
    from undrift.cli.inputs import model_of

    folders = list(dict.fromkeys(arguments.runs))
    models = {folder: model_of(arguments, folder) for folder in folders}
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
    from undrift.cli.drawing import bar, guidance_options, said, sampling_options
    from undrift.cli.outputs import check_outputs, usual_place
    from undrift.evaluation.judgement import judge, reference_of
    from undrift.evaluation.page import write_report
    from undrift.evaluation.report import lines
    from undrift.storage import affordable

    folders = list(models)
    name = "report" if len(folders) == 1 else "comparison"
    page_file = usual_place(arguments, (arguments.out or folders[0]) / f"{name}.html", ".json")
    check_outputs(arguments, (page_file, ".html"), (page_file.with_suffix(".json"), ".json"))
    affordable(f"-n {arguments.n}", arguments.n, max(model.spec.size for model in models.values()))
    drawing = {}
    for folder, model in models.items():
        own, guided = _of(arguments, folder), bool(model.spec.classes)
        drawing[folder] = sampling_options(own, guided) | guidance_options(own, model), said(model, own, guided)
    with bar("judging") as shown:
        shown.tell("training what judges")
        named = {str(f): m for f, m in models.items()}
        on = reference_of(named, folders, arguments.n, arguments.data_dir, arguments.seed, arguments.inception, shown.tell)
        found = []
        for folder, model in models.items():
            how, drawn = drawing[folder]
            likelihood = _likelihood(model, _of(arguments, folder)) if arguments.likelihood else []
            found.append(judge(model, folder, on, arguments.n, drawn, likelihood, **how))
    numbers = write_report(found, on.train, page_file)
    for line in lines(found):
        print(line)
    print(f"report: {page_file}, all numbers: {numbers}")


def _likelihood(model: Model, arguments: argparse.Namespace) -> list[str]:
    """Of 256 examples of the training and of the held-out data, by the flow and by the bound."""
    from undrift.evaluation.likelihood import likelihood_of_run, notes, table

    measured = likelihood_of_run(model, arguments.run, data_dir=arguments.data_dir, seed=arguments.seed)
    return table(measured) + notes(model, measured, "hutchinson", 1, None)


def _captions(model: Model, arguments: argparse.Namespace) -> None:
    from undrift.cli.drawing import guidance_options, said, sampling_options
    from undrift.evaluation.captions import judge_captions

    how = sampling_options(arguments, True) | guidance_options(arguments, model)
    print(f"{arguments.n} samples with {said(model, arguments, True)}")
    for line in judge_captions(model, arguments.run, arguments.n, **how).lines():
        print(line)


def _generative(model: Model, arguments: argparse.Namespace) -> None:
    from undrift.evaluation.generative_classifier import classify_held_out

    if arguments.given & {"scale", "w", "sampler", "steps", "grid", "guide", "interval", "rescale"}:
        raise UndriftError("--generative-classifier draws no samples; leave out the options of sampling and guidance")
    for line in classify_held_out(model, arguments.run, arguments.n, arguments.data_dir, seed=arguments.seed).lines():
        print(line)


def _of(arguments: argparse.Namespace, folder: Path) -> argparse.Namespace:
    """The arguments as if for one run alone."""
    return argparse.Namespace(**{**vars(arguments), "run": folder})
