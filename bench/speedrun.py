"""Quality by the minute: how good are the digits of MNIST after so many seconds of training on this machine?

    python bench/speedrun.py --data-dir DIR [--minutes 10] [--seeds 0,1,2] [--at 0.1,0.25,0.5,1] [--note TEXT] [key=value ...]

Trains the recipe `mnist` with the keys that are given, once for each seed, and judges 2,000 samples of the averaged weights at each share
of the time: the share recognised as the class that was asked for, and the Frechet distance in the features of the project's own judge,
whose floor is that of as many held-out digits. Judging is not counted as training. Each seed is a line of `bench/speedrun.jsonl`, with what changed.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean

from undrift.threads import spin_briefly

spin_briefly()  # before torch is loaded, as in the command line

import torch  # noqa: E402

from undrift.metrics.reference import Reference  # noqa: E402
from undrift.recipe.read import load_recipe, parse_overrides  # noqa: E402
from undrift.training.session import Session  # noqa: E402
from undrift.training.setup import prepare  # noqa: E402

LOG = Path(__file__).with_suffix(".jsonl")
QUIET = {"monitor_every": 0, "quality_every": 0, "sample_every": 0, "snapshots": 0, "checkpoint_every": 10**9, "log_every": 1000}


def trained(options, seed, folder):
    """The trainer at the end, and the averaged weights with the seconds and examples at each share of the time."""
    overrides = parse_overrides(options.keys)
    keys = QUIET | overrides | {"seed": seed, "minutes": options.minutes, "data_dir": options.data_dir}
    trainer, _, train, held_out = prepare(load_recipe(options.recipe, keys), folder / f"run-{seed}")
    shares = sorted(float(share) for share in options.at.split(","))
    kept, size = [], trainer.settings.batch_size
    for report in Session(trainer, held_out):
        while len(kept) < len(shares) and report.fraction >= shares[len(kept)] - 1e-9:
            weights = {k: v.clone() for k, v in trainer.ema.items()}
            kept.append((report.seconds, report.step * size, weights))
    if len(kept) < len(shares):  # the last step began before the end and ended after it
        at = trainer.progress
        kept.append((at.seconds, at.step * size, {k: v.clone() for k, v in trainer.ema.items()}))
    trainer.close()
    return trainer, kept, train, held_out


def judged(model, reference, scale, count):
    """Recognised, in percent, and the Frechet distance with its floor, of samples of the classes of the held-out digits."""
    space = reference.features
    space = replace(space, metrics={"frechet": space.metrics["frechet"]})
    labels = reference.classes[:count]
    y = model.draw(count, labels.tolist(), scale=scale, seed=0)
    y = model.spec.to_model(model.spec.from_model(y)).cpu()
    right = (reference.judge.classify(y) == labels).double().mean().item()
    if space.missing:
        raise SystemExit(f"--samples {count}: {space.missing['frechet']}")
    found = space.estimates(y, labels)["frechet"].value
    return {"recognised": round(100 * right, 2), "distance": round(found, 3), "floor": round(space.floor["frechet"].value, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--recipe", default="mnist")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--at", default="0.1,0.25,0.5,1", help="shares of the time")
    parser.add_argument("--scales", default="1,1.5,2", help="guidance scales")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--judge", type=Path, help="a folder to keep the judge in")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--note", default="", help="what changed")
    parser.add_argument("keys", nargs="*", help="keys of the recipe, key=value")
    options = parser.parse_args()
    scales = [float(scale) for scale in options.scales.split(",")]
    runs = []
    with tempfile.TemporaryDirectory() as place:
        for seed in map(int, options.seeds.split(",")):
            trainer, kept, train, held_out = trained(options, seed, Path(place))
            if options.judge is not None:
                options.judge.mkdir(parents=True, exist_ok=True)
            reference = Reference(train, held_out, options.samples, 0, options.judge or Path(place), device=trainer.device)
            model, found = trainer.model, []
            model.denoiser.eval()
            for seconds, examples, weights in kept:
                model.denoiser.load_state_dict(weights)
                for scale in scales:
                    figures = judged(model, reference, scale, reference.samples)
                    found.append({"seconds": round(seconds), "examples": examples, "scale": scale} | figures)
            line = {
                "at": time.strftime("%Y-%m-%d"), "note": options.note, "keys": options.keys, "seed": seed, "minutes": options.minutes,
                "threads": torch.get_num_threads(), "cores": os.cpu_count(), "machine": platform.machine(),
                "device": trainer.device.type, "found": found,
            }  # fmt: skip
            runs.append(line)
            with options.log.open("a") as file:
                file.write(json.dumps(line) + "\n")
    floor = runs[0]["found"][0]["floor"]
    print(
        f"{options.recipe} {' '.join(options.keys)}: {len(runs)} seeds, {options.samples} samples; the floor of the distance is {floor}\n"
    )
    print("| seconds | examples | scale | recognised | distance |\n|---|---|---|---|---|")
    for i, first in enumerate(runs[0]["found"]):
        same = [run["found"][i] for run in runs]
        cells = [mean(f[what] for f in same) for what in ("seconds", "examples", "recognised", "distance")]
        ends = [(min(f[what] for f in same), max(f[what] for f in same)) for what in ("recognised", "distance")]
        print(
            f"| {cells[0]:.0f} | {cells[1]:,.0f} | {first['scale']:g} | {cells[2]:.1f} % ({ends[0][0]:.1f} to {ends[0][1]:.1f}) | "
            f"{cells[3]:.2f} ({ends[1][0]:.2f} to {ends[1][1]:.2f}) |"
        )


if __name__ == "__main__":
    main()
