"""The planted faults: does `undrift.diagnose` name each, and nothing where nothing is wrong?

    python bench/faults.py [-n 500] [--seeds 1] [--only NAME] [--network]

A row for each fault with what was found; with several seeds, how often it was named. `--network` adds networks trained here, too
small and large enough (a minute). The faults are those of the tests (tests/metrics/planted.py).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import undrift as ud
from metrics import planted
from undrift.diagnosis import report


def trained(width: int, steps: int = 3000) -> ud.Denoiser:
    """A network of this width and one hidden layer, trained on fresh draws of the mixture."""
    torch.manual_seed(0)
    net = ud.nn.MLP((2,), width=width, depth=1)
    denoiser = ud.Denoiser(net, ud.VP(), sigma_data=1.2, shape=(2,))
    objective = ud.DenoisingScoreMatching(weight="sigma2", times="low_discrepancy")
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for k in range(steps):
        noise = ud.Noise(range(256)).fold("train", k)
        loss = objective(denoiser, planted.LAW.sample(256, noise).float(), noise).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return denoiser.eval().requires_grad_(False)


def row(name: str, wanted: str | None, found: list[ud.Budget], seconds: float) -> str:
    """One line of the table."""
    first, said = found[0], [b.culprit for b in found]
    parts = first.repairs.parts
    worst = parts.get(first.culprit or "", first.repairs.ema if first.culprit == "ema" else None)
    nats = first.score.nats.at_least
    named = f"{said.count(wanted)} of {len(said)}"
    share = "" if worst is None else str(worst)
    few = report.worst(first.score.bins) if first.culprit == "score" else None
    where = "" if few is None else f"at {few[-1].levels[0]:.2g} to {few[0].levels[1]:.2g}"
    return (
        f"{name:40} {wanted or 'nothing':15} {first.culprit or 'nothing':15} {named:>9} {share:>22} "
        f"{first.repairs.figure!s:>22} {first.prior.nats.at_least.value:9.4f} {nats.value:9.4f} {seconds:6.1f}  {where}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500, help="samples of each stage")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", help="faults whose name begins so")
    parser.add_argument("--network", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.network:
        for width in (2, 64):
            wanted = "score" if width == 2 else None
            planted.FAULTS[f"network of width {width}"] = (wanted, trained(width), planted.LAW, {})
    print(
        f"{'planted':40} {'to be named':15} {'named':15} {'how often':>9} {'its part':>22} {'figure as sampled':>22} "
        f"{'prior':>9} {'score':>9} {'s':>6}\n{'':129} {'nats':>9} {'nats':>9}"
    )
    for name in planted.FAULTS:
        if name.startswith(options.only or ""):
            begun = time.perf_counter()
            answers = [planted.diagnosed(name, options.n, seed) for seed in range(options.seeds)]
            print(row(name, answers[0][0], [b for _, b in answers], (time.perf_counter() - begun) / options.seeds), flush=True)


if __name__ == "__main__":
    main()
