"""Paper 000, Fig. 4 (section 4.4): what does a model draw that is asked for a 7, or for anything but a 7?

    python bench/anti_conditional.py RUN [--data-dir DIR] [-n 1000] [--class 7] [--steps 20]

For w = -2, -1, -0.5, 0 (guidance scale w + 1): the share of each class among n samples, by a classifier of the real data; the share
of the class asked for, the paper's, and what is wanted; and for w = -1, which is the unconditional model, a chi-square test of the
frequencies against those of the training data (the paper's own figures give 72 on 9 degrees of freedom).
"""

import argparse
from pathlib import Path

import torch
from scipy.stats import chi2

import undrift as ud
from undrift.evaluate.recognition import train_judge
from undrift.evaluate.verdict import data_of

PAPER = {-2.0: 0.0, -1.0: 6.9, -0.5: 62.8, 0.0: 98.5}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--class", dest="label", type=int, default=7)
    parser.add_argument("--sampler", default=None)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model = ud.load(options.run)
    train, held_out = data_of(options.run, options.data_dir)
    judge = train_judge(train, held_out, cache=options.run / "classifier.safetensors")
    count = len(model.spec.classes)
    expected = torch.bincount(torch.from_numpy(train.labels).long(), minlength=count).double() / len(train)
    print(
        f"{options.n} samples asked for {options.label}; judge right on {100 * judge.accuracy:.1f} % of {judge.held_out:,} held-out"
    )
    print("| w | scale | asked for, % | paper, % | " + " | ".join(model.spec.classes) + " |\n" + "|---" * (count + 4) + "|")
    for w, paper in PAPER.items():
        x = model.sample(
            options.n, options.label, w=w, sampler=options.sampler, steps=options.steps, grid="straight", seed=options.seed
        )
        seen = torch.bincount(judge.classify(model.spec.to_model(x)), minlength=count).double()
        each = " | ".join(f"{100 * s / options.n:.1f}" for s in seen)
        print(f"| {w:g} | {w + 1:g} | {100 * seen[options.label] / options.n:.1f} | {paper:g} | {each} |", flush=True)
        if w == -1:
            statistic = float(((seen - options.n * expected) ** 2 / (options.n * expected)).sum())
            verdict = statistic, float(chi2.sf(statistic, count - 1))
    print("training data: " + " | ".join(f"{100 * e:.1f}" for e in expected))
    print(
        f"w = -1 against the training data's frequencies: chi-square {verdict[0]:.1f} on {count - 1} degrees, p = {verdict[1]:.3f}"
    )


if __name__ == "__main__":
    main()
