"""The README's picture from a trained run: a grid by class, and a strip from noise to digit.

python docs/pictures/readme.py RUN docs/pictures/mnist.png
"""

import sys
from pathlib import Path

from PIL import Image

import undrift as ud
from undrift.plot import picture
from undrift.plot.film import film


def main(run: str, out: str) -> None:
    model = ud.load(run)
    labels = [i // 10 for i in range(100)]
    grid = picture.grid(model.draw(100, labels, seed=0), model.spec, 10)
    strip_file = Path(out).with_suffix(".strip.png")
    film(model, list(range(10)), 10, {"seed": 1, "steps": 20}, strip_file, None, "undrift sample")
    strip = Image.open(strip_file).resize(grid.size, Image.Resampling.NEAREST)
    sheet = Image.new("RGB", (2 * grid.size[0] + 16, grid.size[1]), "white")
    sheet.paste(grid, (0, 0))
    sheet.paste(strip, (grid.size[0] + 16, 0))
    sheet.convert("L").save(out, optimize=True)
    strip_file.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
