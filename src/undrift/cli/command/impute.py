"""Fill in what is missing of pictures or vectors.

Known values come back as they are. The picture has a row for each input: the input with its hole in blue, the draws, their mean, their
spread.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from undrift.cli import options
from undrift.cli.types import folder, name, whole
from undrift.error import UndriftError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from undrift.model import Model


def grammar(parser: argparse.ArgumentParser) -> None:
    """A run, what is filled in, and how."""
    options.run_folder(parser)
    parser.add_argument(
        "input", type=folder, help="a picture; a .npy or .npz in the units of the data; or held-out: data of the run"
    )
    parser.add_argument(
        "--mask",
        type=name,
        metavar="MASK",
        help="what is known: a picture or .npy that is white (not 0) there; or what is missing, by name: left, right, top, bottom, "
        "middle-vertical, middle-horizontal, centre, random:0.5 (default: NaN in an array is missing)",
    )
    parser.add_argument("--invert", action="store_true", help="turn the mask around: white is missing, a name says what is known")
    parser.add_argument("--draws", type=whole, default=8, metavar="K", help="how many ways to fill in each input (default: 8)")
    parser.add_argument(
        "--method",
        metavar="NAME",
        default="repaint",
        help="repaint (default), particles, mmps (takes a gradient in every step), replace or langevin",
    )
    parser.add_argument("-n", type=whole, metavar="N", help="only the first N inputs (default: all; of held-out 5)")
    options.class_name(parser, "a class for all inputs, or one for each, with commas (default: none)")
    options.sampling(parser, "the method's own")
    options.data_dir(parser, "where the data are now, for held-out (default: where they were at training)")
    options.picture(parser, "the picture (default: RUN/samples/imputed.png)")
    options.numbers(parser, "also the numbers: x (draws, inputs, ...) in the units of the data, mask")


def run(arguments: argparse.Namespace, started: float) -> None:
    """Fill in, write, and say how."""
    from undrift.cli.drawing import bar
    from undrift.cli.inputs import class_per_sample, model_of
    from undrift.cli.outputs import check_drawable, check_outputs, usual_place, write_arrays
    from undrift.plot import picture
    from undrift.recipe.tables import IMPUTATIONS
    from undrift.storage import Place, affordable

    model = model_of(arguments)
    shown = len(model.spec.shape) == 3
    check_drawable(arguments, model, shown, ("out",), ("npz",))
    usual_out = usual_place(arguments, arguments.run / "samples" / "imputed.png") if shown else None
    out = arguments.out or usual_out
    check_outputs(arguments, (out, None), (arguments.npz, ".npz"))
    if arguments.method not in IMPUTATIONS:
        raise UndriftError(f'method "{arguments.method}" is unknown{nearest(arguments.method, IMPUTATIONS)}')
    if arguments.draws < 1:
        raise UndriftError(f"--draws {arguments.draws}: ask for at least one")
    x = _inputs(arguments, model)
    affordable(f"--draws {arguments.draws}", arguments.draws * len(x), model.spec.size)
    mask = _known(arguments, model, x)
    labels = class_per_sample(arguments.label, len(x), model, "none", each=True)
    names = ("draws", "method", "scale", "w", "sampler", "steps", "grid", "seed")
    how = {name: getattr(arguments, name) for name in names}
    with bar("imputing"):
        draws = model.impute(x, mask, cond=labels, **how)
    done: list[Place] = []
    if out is not None:
        picture.save_image(picture.imputed(x, mask, draws, model.spec), out, "undrift impute")
        done.append(out)
    if arguments.npz:
        write_arrays(arguments.npz, {"x": draws.numpy(), "mask": mask.numpy()}, "undrift impute")
        done.append(arguments.npz)
    print(f"{len(x)} x {arguments.draws} draws with {_said(arguments)}: {', '.join(map(str, done))}")
    if mask.all():
        print("every value is known: the draws are the inputs themselves")
    elif not mask.any():
        print("no value is known: the draws are samples like any others")
    else:
        print(f"{int(mask.sum()):,} of {mask.numel():,} values are known; they come back as they were given")


def _inputs(arguments: argparse.Namespace, model: Model) -> Tensor:
    from undrift.cli.inputs import examples

    if arguments.n is not None and arguments.n < 1:
        raise UndriftError(f"-n {arguments.n}: fill in at least one input")
    return examples(arguments, model, arguments.n or 5)[: arguments.n]


def _known(arguments: argparse.Namespace, model: Model, x: Tensor) -> Tensor:
    """The mask for each input, `(B, *shape)`; NaN is missing where no mask says otherwise."""
    from undrift.data.files import read_mask
    from undrift.imputation.masks import NAMES, named_mask

    present = ~x.isnan()
    if arguments.mask is None:
        if arguments.invert:
            raise UndriftError("--invert turns a mask around; give one with --mask")
        if present.all():
            raise UndriftError("nothing is missing: say what with --mask (a name or a file), or with NaN in an array")
        return present
    path, kinds = Path(arguments.mask), [name.partition(":")[0] for name in NAMES]
    if arguments.mask.partition(":")[0] not in kinds and (path.suffix or path.is_file()):
        mask = read_mask(path, model.spec, arguments.invert)
        if mask.ndim == x.ndim and len(mask) < len(x):
            raise UndriftError(f"{path} has {len(mask)} masks for {len(x)} inputs; give one for all, or one each")
        mask = mask[: len(x)] if mask.ndim == x.ndim else mask.expand(x.shape)
    else:
        mask = (named_mask(arguments.mask, model.spec.shape, arguments.seed) ^ arguments.invert).expand(x.shape)
    bad = int((mask & ~present).sum())
    if bad:
        raise UndriftError(f"the mask calls {bad:,} values known that are NaN; mark them as missing, or leave --mask out")
    return mask


def _said(arguments: argparse.Namespace) -> str:
    """How, in words."""
    from undrift.imputation.measured import PARTICLES
    from undrift.recipe.tables import IMPUTATIONS, SAMPLERS

    way = IMPUTATIONS[arguments.method]
    sampler = way.sampler(SAMPLERS[arguments.sampler] if arguments.sampler else None)
    steps = way.steps if arguments.steps is None else arguments.steps
    name = f", {arguments.sampler}" if arguments.sampler else ""
    cost = PARTICLES * steps if way.method is None else sampler.evaluations(steps)
    return f"{arguments.method}{name}, {steps} steps ({'as many' if cost is None else f'{cost:,}'} evaluations{' as it takes' * (cost is None)})"
