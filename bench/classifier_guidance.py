"""003, Fig. 5: an unconditional model, pulled towards one class by the gradient of a noise-aware classifier.

    undrift train-classifier RUN
    python bench/classifier_guidance.py RUN [--data-dir DIR] [-n 300] [--class 4] [--scales 1 5 15]

For each sampler and scale: the share of the samples that a classifier of clean data, trained apart from the one that guides,
recognises as the class; and the median distance (cosine) to the nearest training picture of that class, since a strong pull could
leave the data. Held-out pictures of the class get the last row.
"""

import argparse
import time
from pathlib import Path

import torch

import undrift as ud
from undrift.classifier import load_classifier
from undrift.evaluate.recognition import train_judge
from undrift.evaluate.verdict import data_of

WAYS = {"abm": 20, "dpm2m": 20, "heun": 20, "sde-dpm2m": 50, "ancestral": 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--class", dest="label", type=int, default=4)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 5.0, 15.0])
    parser.add_argument("--samplers", nargs="+", default=list(WAYS))
    options = parser.parse_args()
    model = ud.load(options.run)
    guide = load_classifier(options.run, model)
    train, held_out = data_of(options.run, options.data_dir)
    judge = train_judge(train, held_out, cache=options.run / "classifier.safetensors")

    def of_class(data):
        return data.batch((torch.from_numpy(data.labels) == options.label).nonzero()[:, 0])[0]

    def unit(x):
        return torch.nn.functional.normalize(x.flatten(1) - x.flatten(1).mean(1, keepdim=True), dim=1)

    known = unit(of_class(train))

    def say(name, steps, scale, x, seconds):
        right = 100 * (judge.classify(x) == options.label).double().mean()
        near = (unit(x) @ known.T).amax(1).median()
        print(f"| {name} | {steps} | {scale} | {right:.1f} | {near:.3f} | {seconds:.0f} |", flush=True)

    print("| sampler | steps | scale | recognised, % | nearest, cosine | seconds |\n|---|---|---|---|---|---|")
    for name in options.samplers:
        for scale in options.scales:
            begun = time.perf_counter()
            x = model.sample(options.n, options.label, guide=guide, scale=scale, sampler=name, steps=WAYS[name])
            say(name, WAYS[name], f"{scale:g}", model.spec.to_model(x), time.perf_counter() - begun)
    say("held-out", "", "", of_class(held_out), 0)


if __name__ == "__main__":
    main()
