"""From a folder of pictures to the first training step, and batches per second, against decoding in every epoch.

    python bench/image_folder.py FOLDER                 # size 32, batches of 64, decoding on all cores that the process may use

    undrift   decodes once into a memory map: `images`, then a step of `Trainer` (recipe images), with a cold and a warm cache
    plain     a PyTorch `DataLoader` whose dataset opens, decodes and scales a file whenever it is asked for (shuffled; a worker
              for each core, none on one core), then the same step

Times leave out importing torch. "Anonymous" memory cannot be given back to the system; the map's pages can.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from undrift.data import images
from undrift.data.augment import Augment
from undrift.data.decode import SUFFIXES
from undrift.data.order import Order
from undrift.noise import Noise
from undrift.recipe.read import load_recipe
from undrift.training.session import prepare
from undrift.training.trainer import Trainer


class Folder(torch.utils.data.Dataset):
    """Class folders as in every tutorial: decode on demand."""

    def __init__(self, folder: Path, size: int) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.paths[row]) as image:
            image = ImageOps.fit(image.convert("RGB"), (self.size, self.size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1


def memory() -> tuple[float, float]:
    """Anonymous and file-backed memory of this process, MiB (Linux; NaN elsewhere)."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return float("nan"), float("nan")
    return tuple(int(lines[key].split()[0]) / 1024 for key in ("RssAnon", "RssFile"))  # type: ignore[return-value]


def first_step(folder: Path, run: Path, size: int, batch_size: int) -> tuple[str, str, Trainer]:
    """Seconds (of the clock, of the processor) to the data and to the end of the first step, and the trainer."""
    start = Clock()
    images(folder, size)
    data = start.read()
    overrides = {"data_dir": str(folder), "data.size": size, "batch_size": batch_size, "device": "cpu"}
    trainer = prepare(load_recipe("images", overrides), run)[0]
    trainer.step(0, 1e-3)
    return data, start.read(), trainer


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> str:
        """In words."""
        return f"{time.perf_counter() - self.wall:.2f} s ({time.process_time() - self.processor:.2f} s of processor)"


def rate(batches: object, batch_size: int, seconds: float) -> str:
    """Pictures per second, of the clock and of the processor."""
    count, start, busy = 0, time.perf_counter(), time.process_time()
    for _ in batches:  # type: ignore[attr-defined]
        count += batch_size
        if time.perf_counter() - start > seconds:
            break
    return f"{count / (time.perf_counter() - start):,.0f} images/s ({count / (time.process_time() - busy):,.0f} per second of processor)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10, help="for each rate")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as place:
        os.environ["UNDRIFT_CACHE"] = place
        for name in ("cold", "warm"):
            data, step, trainer = first_step(options.folder, Path(place) / name, options.size, options.batch_size)
            print(f"undrift, {name} cache: data after {data}, first step done after {step}")
        train = trainer.data
        before = memory()
        order, noise = Order(len(train), 0), Noise(range(options.batch_size))
        steps = range(10**9)
        plainly = (train.batch(order.rows(k, options.batch_size)) for k in steps)
        print(f"undrift, batches: {rate(plainly, options.batch_size, options.seconds)}")
        train.augment = Augment("horizontal")
        mirrored = (train.batch(order.rows(k, options.batch_size), noise.fold("augment", k)) for k in steps)
        print(f"undrift, batches, mirrored at random: {rate(mirrored, options.batch_size, options.seconds)}")
        after = memory()
        print(
            f"undrift, memory for batches: {after[0] - before[0]:+.0f} MiB anonymous; the map has "
            f"{len(train) * train.spec.size / 0.8 / 2**20:.0f} MiB"
        )
        start = Clock()
        plain = Folder(options.folder, options.size)
        loader = DataLoader(plain, options.batch_size, shuffle=True, num_workers=0 if cores == 1 else cores, drop_last=True)
        batch = next(iter(loader))
        trainer.data.batch = lambda *_: (batch, None)  # type: ignore[method-assign]
        trainer.step(1, 1e-3)
        print(f"plain DataLoader: first step done after {start.read()} (the model was there already)")
        epochs = (x for _ in steps for x in loader)
        print(f"plain DataLoader, batches: {rate(epochs, options.batch_size, options.seconds)}")


if __name__ == "__main__":
    main()
