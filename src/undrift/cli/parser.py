"""The grammar of the command line, on the standard library alone, so that help is instant."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from undrift import __version__
from undrift.error import nearest, short
from undrift.storage import Named

Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"
_RECIPES = sorted(p.stem for p in (Path(__file__).parents[1] / "recipes").glob("*.yaml"))


MOST = 10**9  # of anything that is counted
MOST_STEPS = 10**6  # of a grid
LARGEST = 2**62  # of a seed


def whole(text: str) -> int:
    """A number of things. What is too few of them is for the command to say."""
    return _bounded(text, MOST)


def steps(text: str) -> int:
    """A number of sampling steps; no grid is longer."""
    return _bounded(text, MOST_STEPS)


def seed(text: str) -> int:
    """A seed."""
    value = _bounded(text, LARGEST)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} must not be negative")
    return value


def _bounded(text: str, most: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):  # int() also reads 1_0 and the digits of other scripts
        raise argparse.ArgumentTypeError(f'"{short(text)}" is not a whole number')
    value = int(text) if len(text) <= 100 else most + 1
    if abs(value) > most:
        raise argparse.ArgumentTypeError(f"{short(text, 30)} is too large; the most is {most:,}")
    return value


def name(text: str) -> str:
    """What names a file, a folder or a recipe. An empty text would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f'"{text}" names nothing; give a name, or "." for the current folder')
    return text


def folder(text: str) -> Path:
    """A file or folder that is read, or a folder that is written to."""
    return Path(name(text))


def output(text: str) -> Named:
    """A file that is written."""
    return Named.of(name(text))


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{short(text)}" is not a number') from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{short(text)} must be a finite number")
    return value


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line that name the nearest option."""

    def error(self, message: str) -> NoReturn:
        known = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
        if message.startswith("unrecognized arguments: "):
            word = message.split(": ", 1)[1].split()[0]
            name, hint = word.split("=")[0], ""
            if word.startswith("-"):
                close = difflib.get_close_matches(name, known, 1, 0.75)
                key = name.lstrip("-").replace("-", "_")
                if not close and self.prog.split()[-1] in ("train", "demo"):
                    hint = f" as an option; keys of the recipe are written without dashes, {key}=VALUE (undrift train RECIPE --help lists them)"
                else:
                    hint = nearest(name, close or known)
            message = f'"{short(word)}" is not understood{hint or "; see --help"}'
        elif "invalid choice" in message and "argument command" in message:
            word = message.split("invalid choice: ")[1].split("'")[1]
            message = f'command "{word}" is unknown{nearest(word, _COMMANDS)}'
        self.exit(2, f"undrift: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse does, but that a message cannot be written is an error."""
        if message:
            (file or sys.stderr).write(message)


class _Help(argparse.Action):
    """`--help`, which behind a recipe is left to the command, for the keys of a recipe are known to it alone."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=options.get("help"))

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, "recipe", None) is None:
            parser.print_help()
            parser.exit()
        namespace.help = parser.format_help()


_COMMANDS = (
    "train", "status", "ema", "train-classifier", "sample", "cascade", "impute", "restore", "evaluate", "likelihood", "frontier",
    "diagnose", "study", "info", "demo",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The whole command line as an argparse parser."""
    parser = _Parser(prog="undrift", description="Score-based diffusion models: train, sample, look, judge.")
    parser.add_argument("--version", action="version", version=f"undrift {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)

    for add in (
        _train, _status, _ema, _train_classifier, _sample, _cascade, _impute, _restore, _evaluate, _likelihood, _frontier,
        _diagnose, _study, _info, _demo,
    ):  # fmt: skip
        add(commands)
    return parser


def _train(commands: Commands) -> None:
    train = commands.add_parser(
        "train",
        help="train a model from a recipe, or take a run up again",
        epilog="The same command resumes a run that was stopped. `undrift train RECIPE --help` lists every key of a recipe.",
        add_help=False,
    )
    train.add_argument("-h", "--help", action=_Help, help="show this; behind a recipe also every key, with its default")
    train.add_argument(
        "recipe",
        type=name,
        nargs="?",
        help=f"one of {', '.join(_RECIPES)}; the folder of a run, for its recipe; or list (the default)",
    )
    train.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. steps=20000 minutes=10 process.beta_max=15")
    train.add_argument(
        "--data-dir", type=name, metavar="PATH", help="where the data are (images, mnist: a folder; array: a file)"
    )
    train.add_argument(
        "--skip-bad", action="store_true", help="images: go on without files that cannot be used, and say how many"
    )
    train.add_argument("--out", type=folder, metavar="DIR", help="the run's folder (default: runs/RECIPE)")
    train.add_argument("--fresh", action="store_true", help="start over; an existing run is renamed, not deleted")


def _status(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="is it learning? a verdict on a run, also while it trains",
        description="learning, converged, memorising, diverged, or too early to say; with the evidence and what to do.",
    )
    status.add_argument("run", type=folder, help="a run's folder")
    status.add_argument("--json", action="store_true", help="for machines")
    status.add_argument("--out", type=output, metavar="PNG", help="also the curves as a picture")


def _ema(commands: Commands) -> None:
    ema = commands.add_parser(
        "ema",
        help="which average of the weights is best? made after the training, chosen by held-out loss",
        description="Mixes averages of several lengths from the snapshots of a run (Karras et al. 2024), at its end and where the "
        "held-out loss was lowest, and makes the best one the model that is sampled.",
    )
    ema.add_argument("run", type=folder, help="a run's folder")
    ema.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are now (default: where they were)")
    ema.add_argument("--no-save", dest="save", action="store_false", help="leave the model as it is")


def _train_classifier(commands: Commands) -> None:
    train = commands.add_parser(
        "train-classifier",
        help="train a classifier of noisy data for a run, to guide its samples by",
        description="Writes RUN/noisy_classifier.*; then: undrift sample RUN --guide classifier.",
    )
    train.add_argument("run", type=folder, help="a run's folder, its model trained on data with classes")
    train.add_argument("--minutes", type=number, metavar="M", help="how long (default: 3)")
    train.add_argument("--steps", type=whole, metavar="N", help="or how many steps of 64 examples, whichever ends first")
    train.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are now (default: where they were)")


def _sample(commands: Commands) -> None:
    sample = commands.add_parser("sample", help="draw samples from a trained model")
    sample.add_argument("run", type=folder, help="a run's folder")
    sample.add_argument("-n", type=whole, metavar="N", help="how many (default: 10 of each class; points: 1000)")
    sample.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="a class by name or number, several with commas, all (in turn; the default), or none (unconditional; the default with "
        "--from); a name with a comma, or a class that is called all or none, goes in double quotes: '\"a, b\",c'",
    )
    sample.add_argument(
        "--prompt", action="append", metavar="TEXT", help='what a model of captions is to draw, such as "a three next to a seven"'
    )
    _sampling(sample)
    _guidance(sample)
    sample.add_argument("--out", type=output, metavar="PNG", help="the grid (default: RUN/samples/grid.png)")
    sample.add_argument(
        "--strip", type=output, metavar="PNG", help="also a strip from noise to data, one row per sample (up to 10)"
    )
    sample.add_argument("--gif", type=output, metavar="GIF", help="also an animation from noise to data")
    sample.add_argument(
        "--from",
        dest="start",
        type=folder,
        metavar="FILE",
        help="start from these data (.npy, .npz or pictures), noised: image to image",
    )
    sample.add_argument(
        "--strength", type=number, default=1.0, metavar="S", help="with --from: the share of the steps that is run, in (0, 1]"
    )
    sample.add_argument("--clip", action="store_true", help="hold the predicted data to their range at every step")
    sample.add_argument(
        "--threshold",
        type=number,
        metavar="Q",
        help="the same by the Q quantile of each sample (dynamic thresholding), such as 0.995",
    )
    sample.add_argument(
        "--npy", type=output, metavar="NPY", help="the numbers alone, written batch by batch: for any -n, in little memory"
    )
    sample.add_argument("--npz", type=output, metavar="NPZ", help="also the numbers: x in data units, labels")


def _cascade(commands: Commands) -> None:
    cascade = commands.add_parser(
        "cascade",
        help="put a model that enlarges pictures behind one that draws small ones",
        description="Writes both as one folder, for undrift.load_cascade, with samples/grid.png.",
    )
    cascade.add_argument("low", type=folder, help="a run that draws small pictures, as of train digits data.downsample=2")
    cascade.add_argument("high", type=folder, help="a run that enlarges them, as of train upscale")
    cascade.add_argument("--out", type=folder, metavar="DIR", required=True, help="the cascade's folder")
    cascade.add_argument(
        "--augment", type=number, metavar="S", default=0.0, help="level of the noise between the two (default: 0)"
    )
    cascade.add_argument("--seed", type=seed, default=0, help="names the set of samples (default: 0)")


def _impute(commands: Commands) -> None:
    impute = commands.add_parser(
        "impute",
        help="fill in what is missing of pictures or vectors",
        epilog="The picture has a row for each input: the input with its hole in blue, the draws, their mean, their spread.",
    )
    impute.add_argument("run", type=folder, help="a run's folder")
    impute.add_argument("input", type=folder, help="a picture, a .npy or .npz in data units, or held-out: the run's own data")
    impute.add_argument(
        "--mask",
        type=name,
        metavar="MASK",
        help="a picture or .npy, white (not 0) where values are known; or the name of a hole: left, right, top, bottom, "
        "middle-vertical, middle-horizontal, centre, random:0.5 (default: NaN in an array is missing)",
    )
    impute.add_argument("--invert", action="store_true", help="the other way round: white is missing, a name says what is known")
    impute.add_argument("--draws", type=whole, default=8, metavar="K", help="fillings-in of each input (default: 8)")
    impute.add_argument(
        "--method",
        metavar="NAME",
        default="repaint",
        help="repaint (default), particles, mmps (a gradient at every step), replace or langevin",
    )
    impute.add_argument("-n", type=whole, metavar="N", help="the first N inputs only (default: all; of held-out 5)")
    impute.add_argument(
        "--class", dest="label", metavar="NAME", help="a class, or one for each input with commas (default: none)"
    )
    _sampling(impute, "the method's own")
    impute.add_argument(
        "--data-dir", type=name, metavar="PATH", help="where the data are now, for held-out (default: where they were)"
    )
    impute.add_argument("--out", type=output, metavar="PNG", help="the picture (default: RUN/samples/imputed.png)")
    impute.add_argument("--npz", type=output, metavar="NPZ", help="also the numbers: x (draws, inputs, ...) in data units, mask")


def _evaluate(commands: Commands) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="how good are the samples? every metric beside that of real held-out data; copies; class frequencies",
        description="Writes RUN/report.html and RUN/report.json. Several runs of the same data are compared, on the same noise: "
        "comparison.html and comparison.json in the folder of the first.",
    )
    evaluate.add_argument("runs", type=folder, nargs="+", metavar="run", help="a run's folder, or several of the same data")
    evaluate.add_argument("-n", type=whole, default=1000, metavar="N", help="samples to judge (default: 1000)")
    evaluate.add_argument(
        "--generative-classifier", action="store_true", help="instead: does the model itself know the class of held-out examples?"
    )
    evaluate.add_argument(
        "--likelihood", action="store_true", help="also how likely the model finds training and held-out data (slow)"
    )
    evaluate.add_argument(
        "--inception",
        type=folder,
        metavar="FILE",
        help="also FID and others in the features of the Inception network: its weights, pt_inception-2015-12-05-6726825d.pth (slow)",
    )
    evaluate.add_argument("--out", type=folder, metavar="DIR", help="the folder of the report (default: that of the first run)")
    evaluate.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are now (default: where they were)")
    _sampling(evaluate)
    _guidance(evaluate)


def _likelihood(commands: Commands) -> None:
    likelihood = commands.add_parser("likelihood", help="how likely the model finds data: training against held-out")
    likelihood.add_argument("run", type=folder, help="a run's folder")
    likelihood.add_argument("data", type=folder, nargs="?", help="a .npy or .npz file (default: the run's own data)")
    likelihood.add_argument(
        "-n", type=whole, default=256, metavar="N", help="examples of each set, drawn at random (default: 256)"
    )
    likelihood.add_argument("--unit", choices=("bits/dim", "nats"), default="bits/dim", help="bits/dim (default) or nats")
    likelihood.add_argument(
        "--divergence", choices=("hutchinson", "exact"), default="hutchinson", help="hutchinson (default) or exact, which is slow"
    )
    likelihood.add_argument(
        "--probes", type=whole, default=1, metavar="K", help="Hutchinson probes for each example (default: 1)"
    )
    likelihood.add_argument(
        "--steps", type=steps, default=32, metavar="N", help="Runge-Kutta steps of 4 evaluations (default: 32)"
    )
    likelihood.add_argument(
        "--dequantize", type=whole, metavar="K", help="uniform noises for each example of integers (default: 1); 0: a density"
    )
    likelihood.add_argument("--given-class", action="store_true", help="log p(x | y), y being each example's own class")
    likelihood.add_argument("--no-bound", dest="bound", action="store_false", help="leave out the variational bound")
    likelihood.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are now (default: where they were)")
    likelihood.add_argument("--out", type=output, metavar="PNG", help="the histogram (default: RUN/likelihood.png)")
    likelihood.add_argument("--batch-size", type=whole, default=64, metavar="N", help="examples at a time (default: 64)")
    likelihood.add_argument("--seed", type=seed, default=0, help="names examples, probes and noise (default: 0)")
    likelihood.add_argument("--weights", default="ema", help="ema (default) or raw")


def _frontier(commands: Commands) -> None:
    frontier = commands.add_parser(
        "frontier", help="which sampler, grid and number of steps? measure, recommend, make it the default"
    )
    frontier.add_argument("run", type=folder, help="a run's folder")
    frontier.add_argument(
        "-n", type=whole, default=1000, metavar="N", help="samples of each setting that stays to the end (default: 1000)"
    )
    frontier.add_argument(
        "--evaluations",
        default="5,8,10,15,20",
        metavar="N,N,...",
        help="evaluations of the denoiser to spend on a sample (default: 5,8,10,15,20)",
    )
    frontier.add_argument("--samplers", metavar="NAME,...", help="default: those made for few steps; all: every one")
    frontier.add_argument(
        "--grids",
        metavar="NAME,...",
        help="default: straight, trailing, log_snr, karras, and one fitted to the model; all: every one",
    )
    strength = frontier.add_mutually_exclusive_group()
    strength.add_argument("--scale", type=number, help="guidance scale (default: the model's own)")
    strength.add_argument("-w", type=number, metavar="W", help="the same in the convention w = scale - 1")
    frontier.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are now (default: where they were)")
    frontier.add_argument("--out", type=output, metavar="PNG", help="the picture; all rows beside it (default: RUN/frontier.png)")
    frontier.add_argument("--no-save", dest="save", action="store_false", help="leave the model as it is")
    frontier.add_argument("--seed", type=seed, default=0, help="names noise, classes and examples (default: 0)")
    frontier.add_argument("--weights", default="ema", help="ema (default) or raw")


def _diagnose(commands: Commands) -> None:
    diagnose = commands.add_parser(
        "diagnose", help="why are samples not better, and what to change? the error budget, part by part"
    )
    diagnose.add_argument("run", type=folder, help="a run's folder")
    diagnose.add_argument("-n", type=whole, default=1000, metavar="N", help="samples of each stage (default: 1000)")
    diagnose.add_argument(
        "--smaller",
        type=folder,
        nargs="+",
        metavar="RUN",
        help="two runs or more of the same data and process with smaller networks or shorter trainings: the floor of the loss is "
        "extrapolated over their sizes",
    )
    _sampling(diagnose)
    diagnose.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are now (default: where they were)")
    diagnose.add_argument(
        "--out", type=output, metavar="PNG", help="the picture; all numbers beside it (default: RUN/diagnose.png)"
    )


def _study(commands: Commands) -> None:
    study = commands.add_parser(
        "study",
        help="the experiments of the papers, each in one command: what they say, what we get, a verdict, the figure",
        description="Writes OUT/NAME.png and OUT/NAME.json; models are trained once into OUT/models, by the ordinary trainer.",
        epilog="all goes on where it stopped; NAME measures anew.",
    )
    study.add_argument("name", help="a study, such as 000-fig4; all; or list")
    study.add_argument("--paper-settings", action="store_true", help="the papers' own networks, epochs and steps, on MNIST: days")
    study.add_argument("--data-dir", type=name, metavar="DIR", help="the folder of MNIST (default: the embedded 8 x 8 digits)")
    study.add_argument(
        "--model", type=folder, metavar="RUN", help="a run of a class-conditional model to sample where one would be trained"
    )
    study.add_argument("--out", type=folder, metavar="DIR", help="where models and results are kept (default: runs/studies/DATA)")
    study.add_argument("--report", action="store_true", help="also one page of all results there: report.html, report.md")


def _restore(commands: Commands) -> None:
    restore = commands.add_parser(
        "restore",
        help="samples of what a blurred, cut or noisy measurement may have been of",
        epilog="OPERATOR is blur:STD (pixels), downsample:FACTOR, greyscale, mask:centre (or left, right, top, bottom, half, "
        "FILE.npy: hides it), project:SHARE (random projections), or matrix:FILE.npy.",
    )
    restore.add_argument("run", type=folder, help="a run's folder")
    restore.add_argument(
        "input", type=folder, help="what was measured: .npy or .npz (x), or a picture; with --simulate also held-out"
    )
    restore.add_argument(
        "--operator", type=name, metavar="OPERATOR", help="how it was measured, e.g. blur:2 (a model trained to be told it knows)"
    )
    restore.add_argument(
        "--noise", metavar="STD", help="standard deviation of its noise, in data units, or 5%% of the data's range"
    )
    restore.add_argument("--simulate", action="store_true", help="INPUT is clean data: measure it first, and show it too")
    restore.add_argument(
        "--data-dir", type=name, metavar="PATH", help="where the data are now, for held-out (default: where they were)"
    )
    restore.add_argument("-n", type=whole, default=4, metavar="N", help="how many of INPUT's measurements (default: the first 4)")
    restore.add_argument("--draws", type=whole, default=4, metavar="N", help="samples for each (default: 4)")
    restore.add_argument("--method", default="mmps", metavar="NAME", help="mmps (default), tmpd, pigdm, dps, diffpir")
    restore.add_argument("--particles", type=whole, default=0, metavar="K", help="correct the method by K particles for each")
    restore.add_argument(
        "--class",
        dest="label",
        metavar="NAME",
        help="the class, where it is known, or one for each measurement with commas (default: none)",
    )
    restore.add_argument("--sampler", default="ancestral", metavar="NAME", help="as for sample (default: ancestral)")
    restore.add_argument("--steps", type=steps, default=100, metavar="N", help="steps (default: 100)")
    restore.add_argument("--seed", type=seed, default=0, help="names the samples, and the noise of --simulate (default: 0)")
    restore.add_argument("--weights", default="ema", help="ema (default) or raw")
    restore.add_argument("--out", type=output, metavar="PNG", help="the picture (default: RUN/restored.png)")
    restore.add_argument("--npz", type=output, metavar="NPZ", help="also the numbers: y, draws, mean, spread (and truth)")


def _info(commands: Commands) -> None:
    info = commands.add_parser("info", help="what is this model?")
    info.add_argument("run", type=folder, help="a run's folder")


def _demo(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="train, sample, judge and look, in one go")
    demo.add_argument("recipe", type=name, nargs="?", default="digits", help="digits (default) or mnist")
    demo.add_argument("overrides", nargs="*", metavar="key=value", help="as for train")
    demo.add_argument("--data-dir", type=name, metavar="PATH", help="where the data are (mnist)")
    demo.add_argument("--out", type=folder, metavar="DIR", help="the run's folder (default: runs/RECIPE)")
    demo.add_argument("--fresh", action="store_true", help="start over; an existing run is renamed, not deleted")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; `key=value` may stand anywhere after the recipe, also behind options."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(words)
    if arguments.command is None:
        if rest:
            parser.error(f"unrecognized arguments: {rest[0]}")
        parser.print_help()
        parser.exit()
    for word in rest:
        if word.startswith("-") or "=" not in word or not hasattr(arguments, "overrides"):
            command = parser._subparsers._group_actions[0].choices[arguments.command]  # type: ignore[union-attr,index]
            command.error(f"unrecognized arguments: {word}")
        arguments.overrides.append(word)
    return arguments


def _sampling(parser: argparse.ArgumentParser, default: str = "the model's own") -> None:
    strength = parser.add_mutually_exclusive_group()
    strength.add_argument(
        "--scale", type=number, help="guidance scale: 0 ignores the class, 1 is the model as trained, above 1 sharpens"
    )
    strength.add_argument("-w", type=number, metavar="W", help="the same in the convention w = scale - 1")
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="few steps: velocity-abm, velocity-ab, abm, dpm2m, dpm3m, unipc, deis, plms, ddim; one-step solvers: heun, midpoint, rk4, dpm2s, adaptive; with noise: "
        "ancestral (ddpm), sde-dpm2m, sa-solver, churn, euler-maruyama, reverse-diffusion, predictor-corrector, annealed-langevin "
        f"(default: {default})",
    )
    parser.add_argument(
        "--steps", type=steps, metavar="N", help=f"steps (default: {default}; the stochastic samplers want 100 or more)"
    )
    parser.add_argument(
        "--grid",
        metavar="NAME",
        help="how steps are laid out: straight, log_snr, karras, cosine, uniform, trailing, linspace, leading, fitted (default: the model's own)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="names the set of samples (default: 0)")
    parser.add_argument("--weights", default="ema", help="ema (default) or raw")


def _guidance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--guide",
        type=name,
        metavar="WHAT",
        help="what the scale weighs: classifier (of noisy data; see train-classifier), the number of an earlier step of this run, or "
        "the folder of a weaker one (default: the model itself, with the class against without)",
    )
    parser.add_argument(
        "--interval",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="guide only where sigma/alpha lies between the two, such as 0.3 5 (default: everywhere)",
    )
    parser.add_argument(
        "--rescale",
        type=number,
        default=0.0,
        metavar="PHI",
        help="share of the contrast that guidance adds to take back (default: 0)",
    )
