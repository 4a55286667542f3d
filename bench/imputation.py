"""Digits filled in: are they still the digit that they were? By mask, method and class (003, sec. 5.6).

    python bench/imputation.py RUN --data-dir DIR [--per-class 30] [--classes 1 ...] [--fast]

RUN is a class-conditional or unconditional model of MNIST; the class is never told. Held-out digits lose what a mask hides,
each is filled in once, and the run's judge says what it sees; a picture with no bright pixel is never right (judges call blank
pictures 1s). The first row of each mask judges the digit itself, the second the digit with its hole left black.

How many should be right? What is left of a digit may fit several classes. A draw of the exact posterior is of the right class with
probability p(class | what is left), which a classifier trained on the training digits behind the same mask estimates: its mean over
the held-out digits is the row "a perfect imputer". A method far below it loses digits; one above it does not sample the posterior.
"""

import argparse
import time
from pathlib import Path

import torch

import undrift as ud
from undrift import guidance
from undrift.data.order import Order
from undrift.evaluate.recognition import predict, shifted, train_judge
from undrift.evaluate.verdict import data_of
from undrift.guidance.masks import named_mask
from undrift.inverse.known import PARTICLES, by_particles, measured
from undrift.nn import Classifier
from undrift.noise import Noise

MASKS = ("middle-vertical", "middle-horizontal", "random:0.5")
# name: (method, sampler, steps); 003's first
METHODS = {
    "003: reverse SDE, replaced": (guidance.Known, ud.EulerMaruyama(), 200),
    "replaced, ancestral": (guidance.Known, ud.Ancestral(), 200),
    "langevin": (guidance.Known, ud.AnnealedLangevin(corrections=25), 20),
    "repaint, 10 resamplings": (guidance.Known, ud.RePaint(resamplings=10), 50),
    "repaint, 10 jumps of 5": (guidance.Known, ud.RePaint(jump=5), 50),
    "gradient (mmps)": (measured, ud.Ancestral(), 100),
    "repaint, 40 resamplings": (guidance.Known, ud.RePaint(resamplings=40), 25),
    "repaint, 100 resamplings": (guidance.Known, ud.RePaint(resamplings=100), 20),
    "16 particles": (None, ud.Ancestral(), 50),
}


def perfect(train, mask: torch.Tensor, x: torch.Tensor, y: torch.Tensor, batch: int = 128, passes: int = 4) -> torch.Tensor:
    """p(y | x where the mask is true), `(B,)`, from a classifier trained behind the mask."""
    torch.manual_seed(0)
    steps, order = passes * len(train) // batch, Order(len(train), 0)
    classifier = Classifier(train.spec.shape[0], len(train.spec.classes), 24).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        seen, labels = train.batch(order.rows(step, batch))
        seen = torch.where(mask, shifted(seen, Noise(range(len(seen))).fold("shift", step)), -1.0)
        loss = torch.nn.functional.cross_entropy(classifier(seen), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return predict(classifier.eval(), torch.where(mask, x, -1.0)).softmax(1)[torch.arange(len(y)), y]


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

    def line(name: str, right: torch.Tensor, blank: int, seconds: float) -> None:
        each = "".join(f"{100 * right[y == k].double().mean():5.0f}" for k in classes)
        print(f"{name:44}{100 * right.double().mean():6.1f}% |{each}{blank:8d}{seconds:9.0f}", flush=True)

    def report(name: str, pictures: torch.Tensor, seconds: float) -> None:
        blank = pictures.amax((1, 2, 3)) < 0
        line(name, (judge.classify(pictures) == y) & ~blank, int(blank.sum()), seconds)

    for name in options.masks:
        mask = named_mask(name, model.spec.shape)
        print(f"-- {name}: {int((~mask).sum())} of {mask.numel()} pixels missing")
        report("the digit itself", x, 0)
        report("the hole left black", torch.where(mask, x, -1.0), 0)
        begun = time.perf_counter()
        best = perfect(train, mask, x, y)
        line("a perfect imputer", best, 0, time.perf_counter() - begun)
        for method, (way, sampler, steps) in METHODS.items():
            if method in options.methods:
                begun = time.perf_counter()
                if way is None:
                    filled, cost = by_particles(model.denoiser, x, mask, steps=steps)[0], PARTICLES * steps
                else:
                    filled = guidance.impute(model.denoiser, x, mask, method=way, sampler=sampler, steps=steps)[0]
                    cost = sampler.evaluations(steps)
                label = f"{method}, {steps} steps ({cost})"
                report(label, filled.clamp(-1, 1), time.perf_counter() - begun)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
