"""Why few steps of Euler-Maruyama look grainy, and when the picture appears: paper 000 section 4.2 and 001 section 6, measured.

    python bench/last_step.py RUN [--data-dir DIR] [-n 200] [--picture PNG]

One network, seen through the VP process of the papers. Euler-Maruyama even in t as 000 runs it: its last step adds noise like every
other. The same with the denoised mean at the end. And the library's few-step sampler. For each number of steps: the Fréchet distance
in classifier features and the share recognised. Then, along 1,000
steps even in t (001's "noise until 70 % are done") and along 10 of ours: after which share of the steps the state itself, and the
data prediction, are recognised.
"""

import argparse
from pathlib import Path

import torch

import undrift as ud
from undrift import picture
from undrift import times as grids
from undrift.evaluate.distance import Frechet
from undrift.evaluate.features import features
from undrift.evaluate.recognition import train_judge
from undrift.evaluate.verdict import data_of
from undrift.sampler import State


def printed(denoiser, shape, steps):
    """Euler-Maruyama with noise in every step, the last one too (000's code): no denoising at the end."""
    process, noise = denoiser.process, ud.Noise(range(shape[0])).fold("sample", 0)
    times = torch.linspace(1, 1e-3, steps + 1, dtype=torch.float64)
    x, sampler = process.prior(torch.empty(shape), noise), ud.EulerMaruyama()
    with torch.no_grad():
        for i, s in enumerate(times[1:]):
            x = sampler.step(denoiser, State(x, times[i], i), s, noise.fold("step", i)).x
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--picture", type=Path, help="write sevens of every row here")
    options = parser.parse_args()
    model = ud.load(options.run)
    train, held_out = data_of(options.run, options.data_dir)
    judge = train_judge(train, held_out, cache=options.run / "classifier.safetensors")
    frechet = Frechet(features(judge, train.batch(torch.linspace(0, len(train) - 1, min(len(train), 10_000)).long())[0]))
    labels = torch.arange(options.n) % len(model.spec.classes)
    vp = model.denoiser.given(labels).using(ud.VP())
    shape = (options.n, *model.spec.shape)
    rows = []

    def clean(x):
        return model.spec.to_model(model.spec.from_model(x))

    def show(name, steps, x):
        distance = frechet(features(judge, clean(x)))
        seen = (judge.classify(clean(x)) == labels).double().mean().item()
        print(
            f"| {name} | {steps} | {distance.value:.2f} ± {distance.standard_error:.2f} | {100 * seen:.1f} |",
            flush=True,
        )
        rows.append(clean(x[labels == 7])[:10])

    print("| sampler | steps | Fréchet | recognised, % |\n|---|---|---|---|")
    with torch.no_grad():
        for steps in (20, 50, 200, 1000):
            show("Euler-Maruyama as printed", steps, printed(vp, shape, steps))
            show("the same, denoised at the end", steps, ud.sample(vp, shape, ud.EulerMaruyama(), steps, grid=grids.uniform))
        for steps in (5, 10, 20):
            show("ABM on straight", steps, ud.sample(model.denoiser, shape, ud.ABM(), steps, cond=labels))
        for name, denoiser, sampler, steps, grid in (
            ("Euler-Maruyama, even in t", vp, ud.EulerMaruyama(), 1000, grids.uniform),
            ("ABM on straight", model.denoiser.given(labels), ud.ABM(), 10, grids.straight),
        ):
            states = []
            ud.sample(denoiser, shape, sampler, steps, grid=grid, callback=states.append)
            print(f"\n{name}: share of the steps done, and recognised of states and of data predictions, %")
            for share in (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
                state = states[round(share * steps) - 1]
                alpha, sigma = denoiser.process(state.t)
                seen = [(judge.classify(y) == labels).double().mean().item() for y in (state.x / (alpha + sigma), state.data)]
                print(f"  {share:.1f}  noise level {float(sigma / alpha):7.3f}  {100 * seen[0]:5.1f}  {100 * seen[1]:5.1f}")
    if options.picture:
        picture.save_image(picture.grid(torch.cat([r[:10] for r in rows]), model.spec, 10), options.picture)


if __name__ == "__main__":
    main()
