"""The picture of docs/evaluate.md: the Frechet distance from n samples in d dimensions, of a flat and of a falling spectrum.

    python docs/pictures/frechet.py

One draw of two Gaussian laws in 128 dimensions, whose distance is known, against a reference of ten times as many examples: the
distance of the samples' own moments, the same corrected to first order in 1/n, and what is printed.
"""

from pathlib import Path

import torch
from PIL import Image

from undrift.metrics.estimate import Estimate, jackknife
from undrift.metrics.frechet import Frechet
from undrift.plot.chart import Point, chart

D = 128
RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
SPECTRA = {
    "variances all equal": torch.ones(D, dtype=torch.float64),
    "variances falling as 1/i": 1 / torch.arange(1, D + 1, dtype=torch.float64),
}
SIZE = (760, 430)


def lines(variance: torch.Tensor) -> tuple[float, dict[str, list[Point]]]:
    """The true distance, and each way of estimating it over n/d."""
    generator = torch.Generator().manual_seed(0)
    scale = (variance / variance.mean()).sqrt()
    factors = torch.linspace(0.7, 1.3, D, dtype=torch.float64)[torch.randperm(D, generator=generator)]
    known = Frechet(scale * torch.randn(10 * D, D, generator=generator, dtype=torch.float64))
    everything = scale * factors * torch.randn(round(D * RATIOS[-1]), D, generator=generator, dtype=torch.float64)
    found: dict[str, list[Point]] = {"plain": [], "corrected to order 1/n": [], "printed": []}
    for ratio in RATIOS:
        x = everything[: round(ratio * D)]
        plain = jackknife(lambda kept, x=x: known.plain(x[kept]), len(x))
        count = len(plain.replicates)
        corrected = Estimate(count * plain.value - (count - 1) / count * sum(plain.replicates), plain.replicates)
        estimates = {"plain": plain, "corrected to order 1/n": corrected}
        if known.refusal(len(x)) is None:
            estimates["printed"] = known(x)
        for name, e in estimates.items():
            found[name].append(Point(ratio, e.value, e.standard_error))
    return float((scale * (factors - 1)).square().sum()), found


def main() -> None:
    sheet = Image.new("RGB", (SIZE[0], len(SPECTRA) * SIZE[1]), "white")
    for i, (name, variance) in enumerate(SPECTRA.items()):
        truth, found = lines(variance)
        band = (0.97 * truth, 1.03 * truth)
        picture = chart(
            found, "samples for each dimension, n/d", "Fréchet distance", band, f"truth, {truth:.2f}", size=SIZE, title=name
        )
        sheet.paste(picture, (0, i * SIZE[1]))
        for line, points in found.items():
            print(name, line, *(f"{p.x:g}: {p.y:.2f} +- {p.error:.2f}" for p in points), sep="  ")
    sheet.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        Path(__file__).with_name("frechet.png"), optimize=True
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
