"""Digits filled in: are they still the digit that they were? By mask, method and class (003, sec. 5.6).

    python bench/imputation.py RUN --data-dir DIR [--per-class 30] [--classes 1 ...] [--fast]

RUN is a class-conditional or unconditional model of MNIST; the class is never told. Held-out digits lose what a mask hides,
each is filled in once, and the run's judge says what it sees; a picture with no bright pixel is never right (judges call blank
pictures 1s). The first row of each mask judges the digit itself, the second the digit with its hole left black.
"""

import argparse
import time
from pathlib import Path

import torch

import undrift as ud
from undrift import guidance
from undrift.evaluate.recognition import train_judge
from undrift.evaluate.verdict import data_of
from undrift.guidance.masks import named_mask
from undrift.inverse.known import measured

MASKS = ("middle-vertical", "middle-horizontal", "random:0.5")
# name: (method, sampler, steps); 003's first
METHODS = {
    "003: reverse SDE, replaced": (guidance.Known, ud.EulerMaruyama(), 200),
    "replaced, ancestral": (guidance.Known, ud.Ancestral(), 200),
    "langevin": (guidance.Known, ud.AnnealedLangevin(corrections=25), 20),
    "repaint, 10 resamplings": (guidance.Known, ud.RePaint(resamplings=10), 50),
    "repaint, 10 jumps of 5": (guidance.Known, ud.RePaint(jump=5), 50),
    "posterior (mmps)": (measured, ud.Ancestral(), 100),
    "repaint, 40 resamplings": (guidance.Known, ud.RePaint(resamplings=40), 25),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--classes", type=int, nargs="+", help="class numbers (default: all)")
    parser.add_argument("--masks", nargs="+", default=MASKS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--fast", action="store_true", help="8 of each class, the first mask, three methods")
    options = parser.parse_args()
    if options.fast:
        options.per_class, options.masks = 8, MASKS[:1]
        options.methods = [m for m in METHODS if m.startswith(("003", "repaint, 10 res"))]
    model = ud.load(options.run)
    train, held_out = data_of(options.run, options.data_dir)
    judge = train_judge(train, held_out, cache=options.run / "classifier.safetensors")
    classes = options.classes or list(range(len(model.spec.classes)))
    labels = torch.from_numpy(held_out.labels)
    rows = torch.cat([(labels == k).nonzero()[: options.per_class, 0] for k in classes])
    x, y = held_out.batch(rows)
    print(f"judge: {100 * judge.accuracy:.1f} % of {judge.held_out:,}; {len(rows)} held-out digits, filled in once each")
    print(f"{'':44}{'all':>7} |" + "".join(f"{model.spec.classes[k]:>5}" for k in classes) + "   blank  seconds")

    def report(name: str, pictures: torch.Tensor, seconds: float) -> None:
        blank = pictures.amax((1, 2, 3)) < 0
        right = (judge.classify(pictures) == y) & ~blank
        each = "".join(f"{100 * right[y == k].double().mean():5.0f}" for k in classes)
        print(f"{name:44}{100 * right.double().mean():6.1f}% |{each}{int(blank.sum()):8d}{seconds:9.0f}", flush=True)

    for name in options.masks:
        mask = named_mask(name, model.spec.shape)
        print(f"-- {name}: {int((~mask).sum())} of {mask.numel()} pixels missing")
        report("the digit itself", x, 0)
        report("the hole left black", torch.where(mask, x, -1.0), 0)
        for method, (way, sampler, steps) in METHODS.items():
            if method in options.methods:
                begun = time.perf_counter()
                filled = guidance.impute(model.denoiser, x, mask, method=way, sampler=sampler, steps=steps)[0]
                label = f"{method}, {steps} steps ({sampler.evaluations(steps)})"
                report(label, filled.clamp(-1, 1), time.perf_counter() - begun)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
