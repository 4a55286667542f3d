"""Is the monitor right? Five runs that are made to go one way each, and what `undrift status` says of them.

python bench/verdicts.py              all five: some minutes on one core
python bench/verdicts.py memorised    one of them; --keep DIR leaves the runs there

underfit     digits, stopped after 150 steps
converged    eight Gaussians in the plane, whose law is known, trained to the end
memorised    64 digits, thousands of times each
diverging    digits, at a thousand times the rate
labels       digits whose labels were shuffled
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from undrift.data import digits
from undrift.error import UndriftError
from undrift.recipe.read import read_recipe
from undrift.run.log import read_log
from undrift.training.session import train_run
from undrift.training.status import status_of

SMALL: dict[str, Any] = {
    "network": {"kind": "mlp", "width": 256, "depth": 3}, "batch_size": 64, "sample_every": 0, "quality_every": 0, "device": "cpu",
    "monitor_every": 50, "monitor_examples": 128, "learning_rate": 2e-3,
}  # fmt: skip
# Name: recipe, what is changed, the verdict that is right, and what is to be warned of.
CASES: dict[str, tuple[str, dict[str, Any], str, tuple[str, ...]]] = {
    "underfit": ("digits", {**SMALL, "steps": 150}, "learning", ()),
    "converged": (
        "toy",
        {
            **SMALL,
            "network": {"kind": "mlp", "width": 64, "depth": 3},
            "data.name": "mixture",
            "steps": 3000,
            "batch_size": 128,
            "monitor_every": 250,
        },
        "converged",
        (),
    ),
    "memorised": ("digits", {**SMALL, "held_out": 0.9644, "steps": 800}, "memorising", ()),
    "diverging": ("digits", {**SMALL, "steps": 600, "learning_rate": 2.0}, "diverged", ()),
    "labels": ("array", {**SMALL, "steps": 400}, "learning", ("labels",)),
}


def shuffled(path: Path) -> Path:
    """The digits as an array file, each with the label of some other."""
    data = digits()
    rows = torch.arange(len(data))
    assert data.labels is not None
    labels = np.random.default_rng(0).permutation(data.labels)
    np.savez(path, x=data.raw(rows).numpy().astype(np.float32), labels=labels)
    return path


def case(name: str, folder: Path) -> bool:
    """Train one, print what is said of it, and whether that is right."""
    recipe, overrides, verdict, warnings = CASES[name]
    if name == "labels":
        overrides = {**overrides, "data_dir": str(shuffled(folder / "shuffled.npz"))}
    start, run = time.perf_counter(), folder / name
    try:
        train_run(recipe, overrides, run, False, Console(quiet=True), start)
    except UndriftError as error:
        print(f"  training said: {error}")
    status = status_of(read_log(run), read_recipe(run / "config.yaml"))
    right = status.verdict == verdict and status.warnings == warnings
    print(f"{name}: {'right' if right else 'WRONG'}, in {time.perf_counter() - start:.0f} s")
    print("\n".join(f"  {line}" for line in status.lines()), flush=True)
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="undrift-verdicts-"))
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [name for name in arguments.cases if not case(name, folder)]
    if arguments.keep is None:
        shutil.rmtree(folder)
    print(f"{len(arguments.cases) - len(wrong)} of {len(arguments.cases)} are right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
