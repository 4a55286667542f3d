"""A machine that is not alone: training and sampling beside busy neighbours, with each way for threads to wait.

    python bench/busy.py [--neighbours 0,1,2] [--seconds 20] [--rounds 3] [--recipe digits] [--data-dir DIR]

Every measurement is the command line itself in a process of its own, the settings in turn, medians over rounds. A training's rate is
read from its own log, after its first steps; sampling is timed as `undrift sample` of a model that was just trained, the time of
one sample taken off. A neighbour is a process that counts for ever. Ratios are to the best of the settings in the same row.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

SETTINGS = {
    "default": {},
    "as torch": {"GOMP_SPINCOUNT": "300000"},  # libgomp's own value where nothing is said
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin longer": {"GOMP_SPINCOUNT": "20000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BARE = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
QUIET = ["monitor_every=0", "quality_every=0", "sample_every=0", "snapshots=0", "log_every=1", "checkpoint_every=1000000"]


def undrift(words, environment):
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "undrift", *map(str, words)], env={**BARE, **environment}, check=True, capture_output=True
    )
    return time.perf_counter() - start


def training(folder, options, environment):
    """Examples each second, from the log: the first quarter of the run does not count."""
    run = folder / f"run-{time.monotonic_ns()}"
    place = ["--data-dir", options.data_dir] if options.data_dir else []
    length = f"steps={options.steps}" if options.steps else f"minutes={options.seconds / 60}"
    undrift(["train", options.recipe, *place, "--out", run, length, *QUIET, *options.keys], environment)
    seen = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    at = [(r["step"], r["clock"]["seconds"]) for r in seen if "clock" in r]
    if len(at) < 4:
        raise SystemExit(f"{length} is too short: the command starts up, and then made {len(at)} steps")
    first = min(len(at) - 2, max(2, next(i for i, (_, seconds) in enumerate(at) if seconds >= at[-1][1] / 4)))
    (step, seconds), (last, end) = at[first], at[-1]
    size = yaml.safe_load((run / "config.yaml").read_text())["batch_size"]
    return run, (last - step) * size / (end - seconds)


def sampling(run, options, environment, folder):
    """Samples each second, without the start of the command; NaN where they take too little time beside it."""
    words = ["sample", run, "--steps", "20", "--npy", folder / "samples.npy"]
    few, many = (undrift([*words, "-n", n], environment) for n in (1, options.samples))
    return (options.samples - 1) / (many - few) if many - few > 0.3 * few else math.nan


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neighbours", default="0,1,2")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--steps", type=int, help="so many steps of training, in place of --seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("keys", nargs="*", help="keys of the recipe, key=value")
    options = parser.parse_args()
    settings = {name: SETTINGS[name] for name in options.settings.split(",")}
    print(f"`undrift train {options.recipe}` and `undrift sample`, {os.cpu_count()} cores, {options.rounds} rounds\n")
    print("| busy neighbours | what |" + "".join(f" {name} |" for name in settings) + " default to the best |")
    print("|---|---|" + "---|" * len(settings) + "---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for count in map(int, options.neighbours.split(",")):
            neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
            rates = {"training": {name: [] for name in settings}, "sampling": {name: [] for name in settings}}
            try:
                for _ in range(options.rounds):
                    for name, environment in settings.items():
                        run, rate = training(folder, options, environment)
                        rates["training"][name].append(rate)
                        rates["sampling"][name].append(sampling(run, options, environment, folder))
            finally:
                for neighbour in neighbours:
                    neighbour.kill()
                    neighbour.wait()
            for what, found in rates.items():
                middle = {name: median(values) for name, values in found.items()}
                if any(math.isnan(rate) for rate in middle.values()):
                    print(f"| {count} | {what}: too few --samples to say |" + " |" * (len(settings) + 1), flush=True)
                    continue
                cells = "".join(f" {middle[name]:.0f} |" for name in settings)
                print(f"| {count} | {what}, examples/s |{cells} {middle['default'] / max(middle.values()):.2f} |", flush=True)


if __name__ == "__main__":
    main()
