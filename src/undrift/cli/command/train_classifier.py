"""`undrift train-classifier`."""

from __future__ import annotations

import argparse

from undrift.cli.shared import check_writable, console
from undrift.evaluation.classifier_calibration import by_level, table
from undrift.model_file import load
from undrift.noisy_classifier import NAME, save_classifier
from undrift.recipe.recipe import read_recipe
from undrift.run import Run
from undrift.training.noisy_classifier import train_classifier


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift train-classifier RUN`."""
    folder = arguments.run
    model = load(folder)
    for kind in ("json", "safetensors"):
        check_writable(folder / f"{NAME}.{kind}", f".{kind}")
    recipe = read_recipe(folder / "config.yaml")
    train, held_out = Run(folder, arguments.data_dir).data()
    with console().status("training") as status:
        trained = train_classifier(model, recipe, train, minutes=arguments.minutes, steps=arguments.steps, tell=status.update)
    for line in table(by_level(trained.classifier, held_out), trained.classifier, held_out):
        print(line)
    save_classifier(trained, folder)
    facts = trained.trained
    print(f"trained {facts['steps']} steps in {facts['seconds']:.0f} s: {folder / NAME}.safetensors")
    print(f"now: undrift sample {folder} --guide classifier --scale 10")
