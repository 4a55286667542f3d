"""The picture of the named operators.

    python docs/pictures/operators.py MNIST_RUN [--data-dir DIR] [--colour RUN] [--told RUN]

For each operator two held-out digits, as `undrift restore --simulate` draws them: truth, what was measured, mean, spread, four draws.
`greyscale` needs a model of colours: `--make-colours FILE.npy` writes the embedded digits, each in a colour of its own, for
`undrift train array --data-dir FILE.npy`; `--told` is a run of the same with `condition.kind=measured`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import undrift as ud
from undrift.data import load_split
from undrift.evaluation.restore import Restored, sheet, simulated
from undrift.recipe.operators import named_operator
from undrift.run import Run

OPERATORS = ("blur:2", "downsample:4", "mask:centre", "mask:half", "project:0.1", "matrix")
NOISE = 0.05  # of the range


def coloured(path: Path) -> None:
    """Digits of 8 x 8 in random colours, `(N, 3, 8, 8)` uint8."""
    train = load_split("digits", None, 0.2, 0)[0]
    grey = train.raw(torch.arange(len(train))).double().numpy() / 16
    tint = np.random.default_rng(0).dirichlet([0.7] * 3, len(grey))
    tint /= tint.max(1, keepdims=True)
    np.save(path, (255 * grey * tint[:, :, None, None]).round().astype(np.uint8))


def rows(model: ud.Model, truth: torch.Tensor, name: str, scale: int) -> Image.Image:
    """The sheet of one operator."""
    if name == "matrix":  # the sums along the rows and along the columns: a picture from two of its projections
        side = model.spec.shape[-1]
        eye = np.eye(side)
        matrix = np.concatenate([np.kron(eye, np.ones((1, side))), np.kron(np.ones((1, side)), eye)]) / side
        operator = ud.inverse.matrix(torch.from_numpy(matrix), model.spec.shape)
    else:
        operator = named_operator(name, model.spec.shape)
    noise = NOISE * (model.spec.high - model.spec.low)
    y = operator(truth) if model.measures else simulated(model, truth, operator, noise, 0)
    draws = model.restore(y, draws=4) if model.measures else model.restore(y, operator, noise, draws=4, steps=100)
    restored = Restored(operator, y, draws, truth)
    print(f"{name}: misfit {restored.misfit(noise):.2f} of the noise", flush=True)
    picture = sheet(restored, model).convert("RGB")
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--data-dir")
    parser.add_argument("--colour", type=Path)
    parser.add_argument("--told", type=Path)
    parser.add_argument("--make-colours", type=Path, metavar="FILE.npy")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("operators.png"))
    options = parser.parse_args()
    if options.make_colours:
        coloured(options.make_colours)
        return
    held_out = Run(options.run, options.data_dir).data()[1]
    model, parts = ud.load(options.run), []
    parts = [(name, rows(model, held_out.raw(torch.tensor([4, 7])).float(), name, 1)) for name in OPERATORS]
    for run, label in ((options.colour, "greyscale"), (options.told, "greyscale, told")):
        if run:
            tinted = Run(run, None).data()[1].raw(torch.tensor([3, 8])).float()
            parts.append((label, rows(ud.load(run), tinted, "greyscale", 1)))
    width, label = max(p.width for _, p in parts), 100
    whole = Image.new("RGB", (2 * (label + width), sum(max(a.height, b.height) + 8 for (_, a), (_, b) in pairs(parts))), "white")
    draw, top = ImageDraw.Draw(whole), 0
    for pair in pairs(parts):
        for column, (name, part) in enumerate(pair):
            left = column * (label + width)
            draw.text((left + 6, top + 6), name if name != "matrix" else "matrix:FILE.npy", fill="black")
            whole.paste(part, (left + label, top))
        top += max(p.height for _, p in pair) + 8
    whole.quantize(128).save(options.out, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


def pairs(parts):
    """Two and two; the last may be alone."""
    alone = [*parts, ("", Image.new("RGB", (1, 1), "white"))] if len(parts) % 2 else parts
    return list(zip(alone[::2], alone[1::2], strict=True))


if __name__ == "__main__":
    main()
