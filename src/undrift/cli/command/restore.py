"""`undrift restore`."""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from undrift.cli.shared import (
    affordable,
    check_drawable,
    check_outputs,
    class_per_sample,
    console,
    examples,
    usual_place,
    write_arrays,
)
from undrift.error import UndriftError
from undrift.evaluation.restore import Restored, read_measured, read_noise, sheet, simulated
from undrift.model import Model
from undrift.model_file import load
from undrift.plot import picture
from undrift.recipe.operators import named_method, named_operator
from undrift.storage import Place


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift restore RUN INPUT --operator OPERATOR --noise STD`."""
    model = load(arguments.run, arguments.weights)
    drawn = len(model.spec.shape) == 3
    check_drawable(arguments, model, drawn, ("out",), ("npz",))
    out = (arguments.out or usual_place(arguments, arguments.run / "restored.png")) if drawn else None
    check_outputs(arguments, (out, None), (arguments.npz, ".npz"))
    named_method(arguments.method)
    name, noise_std = _measurement(arguments, model)
    operator = named_operator(name, model.spec.shape)
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
    options = {k: getattr(arguments, k) for k in ("draws", "method", "particles", "sampler", "steps", "seed")}
    begun = time.perf_counter()
    with console().status(f"restoring {len(y)}"):
        how_measured: dict[str, Any] = {} if model.measures else {"operator": operator, "noise_std": noise_std}
        draws = model.restore(y, **how_measured, cond=labels, **options)
    seconds = time.perf_counter() - begun
    restored = Restored(operator, y, draws, truth)
    done: list[Place] = []
    if out is not None:
        picture.save_image(sheet(restored, model), out, "undrift restore")
        done.append(out)
    if arguments.npz:
        write_arrays(arguments.npz, restored.arrays())
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
