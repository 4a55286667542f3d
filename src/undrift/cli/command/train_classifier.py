"""Train a classifier of noisy data, to guide samples with.

Writes RUN/noisy_classifier.json and .safetensors. Then: undrift sample RUN --guide classifier.
"""

from __future__ import annotations

import argparse

from undrift.cli import options
from undrift.cli.types import number, whole


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, and how long."""
    options.run_folder(parser, "the folder of a run, trained on data with classes")
    parser.add_argument("--minutes", type=number, metavar="M", help="how long to train (default: 3)")
    parser.add_argument(
        "--steps", type=whole, metavar="N", help="or for how many steps of 64 examples; given both, it stops at the first"
    )
    options.data_dir(parser)
    options.device(parser)


def run(arguments: argparse.Namespace, started: float) -> None:
    """Train, print how well it sees at each noise level, and save."""
    from undrift.cli.inputs import model_of
    from undrift.cli.outputs import check_writable
    from undrift.evaluation.classifier_calibration import by_level, table
    from undrift.noisy_classifier import NAME, save_classifier
    from undrift.progress import SHORT, Bar
    from undrift.run import Run
    from undrift.training.noisy_classifier import train_classifier

    folder = arguments.run
    model = model_of(arguments)
    for kind in ("json", "safetensors"):
        check_writable(folder / f"{NAME}.{kind}", f".{kind}")
    of = Run(folder, arguments.data_dir)
    train, held_out = of.data()
    with Bar("training", patience=SHORT) as bar:
        trained = train_classifier(model, of.recipe, train, minutes=arguments.minutes, steps=arguments.steps, tell=bar.tell)
    for line in table(by_level(trained.classifier, held_out), trained.classifier, held_out):
        print(line)
    save_classifier(trained, folder)
    facts = trained.trained
    print(f"trained {facts['steps']} steps in {facts['seconds']:.0f} s: {folder / NAME}.safetensors")
    print(f"now: undrift sample {folder} --guide classifier --scale 10")
