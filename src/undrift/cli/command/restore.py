"""Draw what a blurred, cut or noisy measurement may have been of.

Samples from the posterior: what is likely under the model, and fits the measurement.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from undrift.cli import options
from undrift.cli.types import folder, name, steps, whole
from undrift.error import UndriftError

if TYPE_CHECKING:
    from undrift.model import Model


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, a measurement, how it was measured, and how to sample."""
    parser.epilog = (
        "OPERATOR is blur:STD (in pixels), downsample:FACTOR, greyscale, mask:centre (or left, right, top, bottom, half, FILE.npy: "
        "what it names is hidden), project:SHARE (random projections), or matrix:FILE.npy."
    )
    options.run_folder(parser)
    parser.add_argument(
        "input", type=folder, help="what was measured: .npy, .npz (x) or a picture; with --simulate also held-out"
    )
    parser.add_argument(
        "--operator", type=name, metavar="OPERATOR", help="how it was measured, such as blur:2; some models know it from training"
    )
    parser.add_argument(
        "--noise", metavar="STD", help="standard deviation of its noise: in the units of the data, or 5%% of their range"
    )
    parser.add_argument(
        "--simulate", action="store_true", help="INPUT is clean data: measure it first, and show it beside the result"
    )
    options.data_dir(parser, "where the data are now, for held-out (default: where they were at training)")
    parser.add_argument("-n", type=whole, default=4, metavar="N", help="only the first N measurements (default: 4)")
    parser.add_argument("--draws", type=whole, default=4, metavar="N", help="samples for each (default: 4)")
    parser.add_argument("--method", default="mmps", metavar="NAME", help="mmps (default), tmpd, pigdm, dps or diffpir")
    parser.add_argument(
        "--particles",
        type=whole,
        default=0,
        metavar="K",
        help="correct the error of the method with K particles (default: 0, none)",
    )
    options.class_name(parser, "a class for all measurements, or one for each, with commas (default: none)")
    parser.add_argument("--sampler", default="ancestral", metavar="NAME", help="as for undrift sample (default: ancestral)")
    parser.add_argument("--steps", type=steps, default=100, metavar="N", help="number of steps (default: 100)")
    options.seed_and_weights(parser, "another seed draws other samples, and other noise of --simulate (default: 0)")
    options.computing(parser)
    options.picture(parser, "the picture (default: RUN/restored.png)")
    options.numbers(parser, "also the numbers: y, draws, mean, spread (and truth)")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Sample, write, and say how well the samples explain the measurement."""
    import time

    from undrift.cli.drawing import bar
    from undrift.cli.inputs import class_per_sample, examples, model_of
    from undrift.cli.outputs import check_drawable, check_outputs, usual_place, write_arrays
    from undrift.evaluation.restore import Restored, read_measured, sheet, simulated
    from undrift.plot import picture
    from undrift.recipe.operators import named_method, named_operator
    from undrift.storage import Place, affordable

    model = model_of(arguments)
    drawn = len(model.spec.shape) == 3
    check_drawable(arguments, model, drawn, ("out",), ("npz",))
    out = (arguments.out or usual_place(arguments, arguments.run / "restored.png")) if drawn else None
    check_outputs(arguments, (out, None), (arguments.npz, ".npz"))
    named_method(arguments.method)
    operator_name, noise_std = _measurement(arguments, model)
    operator = named_operator(operator_name, model.spec.shape)
    if arguments.n < 1:
        raise UndriftError(f"-n {arguments.n}: ask for at least one measurement")
    if not arguments.simulate and str(arguments.input) == "held-out":
        raise UndriftError("held-out is clean data, not a measurement; add --simulate, which measures it first")
    truth = examples(arguments, model, arguments.n)[: arguments.n].double() if arguments.simulate else None
    if truth is None:
        y = read_measured(arguments.input, operator, arguments.n)
    else:
        y = simulated(model, truth, operator, noise_std, arguments.seed)
    count = max(1, arguments.particles) * arguments.draws * len(y)
    affordable(f"--draws {arguments.draws} --particles {arguments.particles}", count, model.spec.size)
    labels = class_per_sample(arguments.label, len(y), model, "none", each=True)
    how_drawn = {k: getattr(arguments, k) for k in ("draws", "method", "particles", "sampler", "steps", "seed")}
    begun = time.perf_counter()
    with bar("restoring"):
        how_measured: dict[str, Any] = {} if model.measures else {"operator": operator, "noise_std": noise_std}
        draws = model.restore(y, **how_measured, cond=labels, **how_drawn)
    seconds = time.perf_counter() - begun
    restored = Restored(operator, y, draws, truth)
    done: list[Place] = []
    if out is not None:
        picture.save_image(sheet(restored, model), out, "undrift restore")
        done.append(out)
    if arguments.npz:
        write_arrays(arguments.npz, restored.arrays(), "undrift restore")
        done.append(arguments.npz)
    how = f"{arguments.method}, {arguments.particles} particles" if arguments.particles else arguments.method
    how = "the model itself, which is told them" if model.measures else how
    count = f"{len(y)} measurement{'s' * (len(y) > 1)}"
    print(f"{count}, {arguments.draws} draws each with {how}, {arguments.steps} steps, in {seconds:.1f} s")
    if noise_std:
        print(f"misfit of the draws to y: {restored.misfit(noise_std):.2f} of the noise (about 1 where they explain it)")
    else:
        print(f"misfit of the draws to y: {restored.misfit(1.0):.3g} in the units of y, root mean square")
    columns = f"{'truth, ' * (truth is not None)}y, mean, spread, draws"
    print(f"{', '.join(map(str, done))}" + (f" (columns: {columns})" if out else ""))


def _measurement(arguments: argparse.Namespace, model: Model) -> tuple[str, float]:
    """The operator's name and the standard deviation of its noise, data units: what was asked for, or what the model is told."""
    import torch

    from undrift.evaluation.restore import read_noise

    told = model.measures
    if told is None:
        if arguments.operator is None or arguments.noise is None:
            raise UndriftError(
                "how was it measured? name it with --operator, such as blur:2, and its noise with --noise, such as 5%"
            )
        return arguments.operator, read_noise(arguments.noise, model)
    if arguments.operator not in (None, told.operator) or arguments.noise is not None:
        raise UndriftError(f"this model was trained to be told {told.operator}; leave out --noise and another --operator")
    return told.operator, told.noise * float(model.spec.units(model.spec.scale, torch.empty(0, dtype=torch.float64)))
