"""`undrift restore`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from undrift import picture
from undrift.cli.shared import check_writable, console
from undrift.error import UndriftError
from undrift.evaluate.restore import Restored, read_measured, read_noise, sheet, simulated
from undrift.model import load, write_atomically
from undrift.recipe_operator import named_method, named_operator


def run(arguments: argparse.Namespace, started: float) -> None:
    """`undrift restore RUN INPUT --operator OPERATOR --noise STD`."""
    model = load(arguments.run, arguments.weights)
    drawn = len(model.spec.shape) == 3
    if not drawn and (arguments.out or not arguments.npz):
        raise UndriftError(f"samples of shape {model.spec.shape} cannot be drawn; ask for the numbers with --npz FILE")
    out = (arguments.out or arguments.run / "restored.png") if drawn else None
    for path in (out, arguments.npz):
        if path is not None:
            check_writable(path)
    named_method(arguments.method)
    operator = named_operator(arguments.operator, model.spec.shape)
    noise_std = read_noise(arguments.noise, model)
    if arguments.n < 1:
        raise UndriftError(f"-n {arguments.n}: ask for at least one measurement")
    y = read_measured(arguments.input, operator, arguments.simulate, arguments.n)
    truth = y if arguments.simulate else None
    if truth is not None:
        y = simulated(model, truth, operator, noise_std, arguments.seed)
    options = {k: getattr(arguments, k) for k in ("draws", "method", "particles", "sampler", "steps", "seed")}
    begun = time.perf_counter()
    with console().status(f"restoring {len(y)}"):
        draws = model.restore(y, operator, noise_std, cond=arguments.label, **options)
    seconds = time.perf_counter() - begun
    restored = Restored(operator, y, draws, truth)
    done: list[Path] = []
    if out is not None:
        picture.save_image(sheet(restored, model), out)
        done.append(out)
    if arguments.npz:

        def write(path: Path) -> None:
            with open(path, "wb") as handle:
                np.savez_compressed(handle, **restored.arrays())

        write_atomically(arguments.npz, write)
        done.append(arguments.npz)
    how = f"{arguments.method}, {arguments.particles} particles" if arguments.particles else arguments.method
    count = f"{len(y)} measurement{'s' * (len(y) > 1)}"
    print(f"{count}, {arguments.draws} draws each with {how}, {arguments.steps} steps, in {seconds:.1f} s")
    print(f"misfit of the draws to y: {restored.misfit(noise_std):.2f} of the noise (about 1 where they explain it)")
    columns = f"{'truth, ' * (truth is not None)}y, mean, spread, draws"
    print(f"{', '.join(map(str, done))}" + (f" (columns: {columns})" if out else ""))
