"""The picture of docs/conditioning.md from a trained run: six samples of each of four captions.

python docs/pictures/captions.py runs/captions docs/pictures/captions.png
"""

import io
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import undrift as ud
from undrift.plot import picture

CAPTIONS = ("a three next to a seven", "a three above a seven", "a three below a seven", "an eight next to an eight")


def main(run: str, out: str) -> None:
    mpl.use("Agg")
    model = ud.load(run)
    figure, axes = plt.subplots(1, len(CAPTIONS), figsize=(9, 2), layout="constrained")
    for i, (axis, caption) in enumerate(zip(axes, CAPTIONS, strict=True)):
        y = model.draw(6, caption, scale=3.0, seed=i)
        axis.imshow(np.asarray(picture.grid(y, model.spec, 3)))
        axis.set_title(caption, fontsize=9)
        axis.set_axis_off()
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=110, metadata={"Software": None})
    Image.open(raw).convert("L").quantize(32).save(Path(out), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
