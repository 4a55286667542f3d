"""Endings as the papers print them, against what noise they leave in closed form."""

import pytest
import torch

import undrift as ud
from conftest import undrift
from undrift import times as grids

POINT = [[0.3, -0.4]]
DOUBLE = torch.empty(0, dtype=torch.float64)


def drawn(law, sampler, times, n=2000):
    return ud.sample(law, n, sampler, times, like=DOUBLE, batch_size=n)


@pytest.mark.parametrize("kind", ["euler-maruyama", "reverse-diffusion", "predictor-corrector"])
def test_the_noise_of_the_last_step_is_left(kind):
    """Of a law that is a point: `g sqrt(dt)`, or the noise of the last transition, to five standard errors (2,000 samples, two numbers)."""
    process = ud.VP()
    law, times = ud.GaussianMixture(POINT, 1e-6, process=process), grids.uniform(process, 400)
    last, end = times[-2], times[-1]
    sampler = {
        "euler-maruyama": ud.EulerMaruyama(),
        "reverse-diffusion": ud.ReverseDiffusion(),
        "predictor-corrector": ud.PredictorCorrector(ud.EulerMaruyama()),
    }[kind]
    noise = process.step(end, last)[1] if kind == "reverse-diffusion" else process.diffusion(last) * (last - end).sqrt()
    noisy, clean = (drawn(law, s, times) for s in (ud.Printed(sampler), sampler))
    assert (clean - torch.tensor(POINT)).abs().max() < 1e-3
    assert (noisy - torch.tensor(POINT)).std() == pytest.approx(
        float(noise), rel=5 / 4000**0.5 + 0.02
    )  # what was there before is damped to a few hundredths


def test_annealed_langevin_stops_at_its_last_level():
    """Langevin on N(0, sigma^2) with step 2 (snr sigma)^2 settles at the variance sigma^2/(1 - snr^2)."""
    ladder, snr = ud.SMLD(10, 0.05, 3.0), 0.2
    law, sampler = ud.GaussianMixture(POINT, 1e-6, process=ladder), ud.AnnealedLangevin(corrector=ud.Langevin(snr))
    x = drawn(law, ud.Printed(sampler), ladder.levels)
    assert x.std(0).mean() == pytest.approx(0.05 / (1 - snr**2) ** 0.5, rel=5 / 4000**0.5)
    assert (drawn(law, sampler, ladder.levels) - torch.tensor(POINT)).abs().max() < 1e-3


@pytest.mark.parametrize(
    "sampler", [ud.AnnealedLangevin(corrections=3), ud.EulerMaruyama(), ud.PredictorCorrector(corrector_first=True)]
)
def test_evaluations_are_counted_as_they_are(sampler):
    law = ud.Counted(ud.GaussianMixture(POINT, 0.1, process=ud.SMLD(10, 0.05, 3.0)))
    ud.sample(law, 2, ud.Printed(sampler), law.process.levels)
    assert law.calls == ud.Printed(sampler).evaluations(10)


def test_a_sampler_without_noise_has_no_such_ending():
    with pytest.raises(ValueError, match="Heun draws no fresh noise"):
        ud.Printed(ud.Heun())


def test_by_name_on_the_command_line(tiny_run, tmp_path, capsys):
    words = ["sample", tiny_run, "-n", 2, "--steps", 3, "--sampler"]
    for name in ("reverse-diffusion-printed", "corrector-predictor", "flow-corrector"):
        code, _, error = undrift(*words, name, "--npy", tmp_path / f"{name}.npy", capsys=capsys)
        assert code == 0, error
