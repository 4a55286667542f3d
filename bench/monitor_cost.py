"""What does watching cost? CPU time of a look, of a figure of quality, of the averages, of a state, beside a step of the recipe digits.

python bench/monitor_cost.py
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from undrift.training.monitor import Monitor
from undrift.training.quality import Quality
from undrift.training.setup import plan, prepare


def cost(work: Callable[[], object], times: int) -> float:
    """CPU seconds of a piece of work, the median of several."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return sorted(found)[times // 2]


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="undrift-cost-"))
    recipe, _ = plan("digits", {"device": "cpu"}, folder / "run", False)
    trainer, recipe, _, held_out = prepare(recipe, folder / "run")
    monitor, quality = Monitor(trainer, held_out), Quality(trainer, held_out)
    trainer.step(0, 1e-3)
    step = cost(lambda: trainer.step(1, 1e-3), 15)
    look, figure = cost(monitor.look, 5), cost(quality.measure, 3)
    tracked = [a for name, a in trainer.averages.items() if name != "ema"]
    average = cost(lambda: [a.update(trainer.denoiser, 5, 64) for a in tracked], 15)
    snapshot, state = cost(lambda: trainer.snapshots.take(16), 5), cost(trainer.save, 5)
    print(f"a step of 64 digits: {1000 * step:.1f} ms of CPU")
    shares = {
        "a look at 256 examples of each kind": (look, recipe.monitor_every),
        "a figure of quality": (figure, recipe.quality_every),
        "two more averages": (average, 1),
        "their snapshots": (snapshot, 128),
        "a state and a model": (state, recipe.checkpoint_every),
    }
    for name, (seconds, every) in shares.items():
        print(f"  {name}: {1000 * seconds:.1f} ms every {every} step{'s' * (every > 1)}, {100 * seconds / step / every:.2f} %")
    print(f"in all {100 * sum(seconds / step / every for seconds, every in shares.values()):.1f} % of the training")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
