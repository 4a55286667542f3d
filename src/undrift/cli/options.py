"""Options that several commands have in common, so that each is spelled and explained in one place."""

from __future__ import annotations

import argparse
from pathlib import Path

import undrift
from undrift.cli.types import folder, name, number, output, seed, steps
from undrift.recipe.samplers import explained

RECIPES = sorted(p.stem for p in (Path(undrift.__file__).parent / "recipe" / "yaml").glob("*.yaml"))


def run_folder(parser: argparse.ArgumentParser, what: str = "the folder of a run") -> None:
    """The run that a command is about."""
    parser.add_argument("run", type=folder, help=what)


def data_dir(
    parser: argparse.ArgumentParser, what: str = "where the data are now (default: where they were at training)"
) -> None:
    """Where the data of a run lie."""
    parser.add_argument("--data-dir", type=name, metavar="PATH", help=what)


def recipe_changes(parser: argparse.ArgumentParser) -> None:
    """`key=value` after a recipe, and where the run goes."""
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes to the recipe, such as steps=20000 minutes=10 process.kind=vp"
    )
    data_dir(parser, "the folder or file of the data, for recipes that bring none")
    parser.add_argument("--out", type=folder, metavar="DIR", help="the folder of the run (default: runs/RECIPE)")
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="where to train, as device=NAME: auto, the GPU where there is one; cpu, cuda, cuda:1 or mps",
    )
    parser.add_argument("--fresh", action="store_true", help="start anew; a run that is there is renamed, not deleted")


def picture(parser: argparse.ArgumentParser, what: str) -> None:
    """Where a picture goes."""
    parser.add_argument("--out", type=output, metavar="PNG", help=what)


def numbers(parser: argparse.ArgumentParser, what: str) -> None:
    """A file for the numbers behind the picture."""
    parser.add_argument("--npz", type=output, metavar="NPZ", help=what)


def class_name(parser: argparse.ArgumentParser, what: str) -> None:
    """Which class to draw."""
    parser.add_argument("--class", dest="label", metavar="NAME", help=what)


def seed_and_weights(parser: argparse.ArgumentParser, what: str = "another seed draws other samples (default: 0)") -> None:
    """Of all randomness; and which weights of the model."""
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=what)
    weights(parser)


def weights(parser: argparse.ArgumentParser) -> None:
    """Which weights of the model."""
    parser.add_argument(
        "--weights", default="ema", metavar="NAME", help="ema: averaged over the training (default); or raw: the last ones"
    )


def device(parser: argparse.ArgumentParser) -> None:
    """Where it is computed."""
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto: the GPU where there is one (default); cpu, cuda, cuda:1 or mps"
    )


def computing(parser: argparse.ArgumentParser) -> None:
    """Where a network runs, in which precision, and whether it is compiled."""
    device(parser)
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", "fast", "float32", "bfloat16", "float16"],
        metavar="NAME",
        help="in which the network runs: float32, bfloat16, float16, fast (bfloat16 on a GPU or CPU that has it) or auto: bfloat16 on a GPU that has it, else float32 (default)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first (torch.compile): worth it for many samples"
    )
    parser.add_argument(
        "--graphs",
        action="store_const",
        const="graphs",
        dest="compile",
        default=False,
        help="the same, and launch it as CUDA graphs",
    )


def scale(parser: argparse.ArgumentParser) -> None:
    """How strong guidance is, in either convention."""
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument(
        "--scale",
        type=number,
        metavar="S",
        help="guidance scale: 0 ignores the class, 1 is the model as trained, above 1 sharpens (default: the model's own)",
    )
    strength.add_argument("-w", type=number, metavar="W", help="the same as w = scale - 1, the convention of Ho & Salimans 2022")


def sampling(parser: argparse.ArgumentParser, default: str = "the model's own") -> None:
    """How samples are drawn."""
    scale(parser)
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help=f"{explained()} (default: {default})",
    )
    parser.add_argument(
        "--steps",
        type=steps,
        metavar="N",
        help=f"number of steps; samplers with fresh noise need 100 or more (default: {default})",
    )
    parser.add_argument(
        "--grid",
        metavar="NAME",
        help="how the steps are spaced: straight, log_snr, karras, cosine, uniform, trailing, linspace, leading, fitted (default: the "
        "model's own)",
    )
    seed_and_weights(parser)
    computing(parser)


def metric(parser: argparse.ArgumentParser) -> None:
    """By which metric samples are compared."""
    parser.add_argument(
        "--metric",
        type=name,
        metavar="NAME",
        help="compare by this metric: frechet, kernel, energy, mmd, sliced, marginal, correlation, told_apart (default: frechet for "
        "images with classes, energy for everything else)",
    )


def guidance(parser: argparse.ArgumentParser) -> None:
    """What the guidance scale weighs, and where."""
    parser.add_argument(
        "--guide",
        type=name,
        metavar="WHAT",
        help="what guides the samples: classifier (made by train-classifier), the number of an earlier step of this run, or the folder "
        "of a weaker run (default: the model itself, with the class against without)",
    )
    parser.add_argument(
        "--interval",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="guide only at noise levels sigma/alpha between these two, such as 0.3 5 (default: at all of them)",
    )
    parser.add_argument(
        "--rescale",
        type=number,
        default=0.0,
        metavar="PHI",
        help="guidance raises the contrast; how much of that to take back, from 0 (none, the default) to 1 (all)",
    )
