"""The law of the samples: every sampler, six processes, two mixtures whose denoisers are exact."""

import pytest
import torch

import undrift as ud
from conftest import ALL_SAMPLERS, SIX, mixture, same_law
from undrift import times as grids

DOUBLE = torch.empty(0, dtype=torch.float64)


CASES = [(name, "anisotropic") for name in SIX] + [(name, "isotropic") for name in ("VE", "VP")]


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("kind", ALL_SAMPLERS)
def test_the_law_is_the_mixture(kind, name, shape):
    """Energy two-sample test, 1,000 against 1,000, fixed seeds; a right sampler fails it with probability 1/201.

    Weights within 5 standard errors.
    """
    m, (sampler, steps) = mixture(SIX[name], shape), ALL_SAMPLERS[kind]
    x = ud.sample(m, 1000, sampler, grids.log_snr(m.process, steps, 0.01), seed=4, like=DOUBLE, batch_size=1000)
    assert same_law(x, m.sample(1000, ud.Noise(range(1000)).fold("truth"))) > 1 / 201
    assert abs((m.posterior(x)[:, 0] > 0.5).double().mean() - 0.3) < 5 * (0.21 / 1000) ** 0.5


def test_the_law_test_notices():
    """A law wrong by a fifth of a standard deviation, or by 8 % in the weights, is caught."""
    m, noise = mixture(), ud.Noise(range(1000))
    truth, x = m.sample(1000, noise.fold("truth")), m.sample(1000, noise.fold("x"))
    assert same_law(x, truth) > 1 / 201
    assert same_law(1.2 * x, truth) <= 1 / 201
    assert same_law(ud.GaussianMixture(m.means, 0.45, [0.38, 0.62]).sample(1000, noise), truth) <= 1 / 201


def test_every_named_sampler_is_among_them():
    from undrift.recipe.tables import SAMPLERS

    proved = {type(sampler) for sampler, _ in ALL_SAMPLERS.values()}
    assert {type(sampler) for sampler in SAMPLERS.values()} - {ud.Renoise} <= proved  # what that loses is in theory/test_errata


def test_measured_langevin_follows_its_law_in_high_dimension():
    """Song's step from each sample's own norms: its bias is O(1/d), so it is judged in 60 dimensions, on its radii.

    Mean squared radius over d within 5 standard errors (1,000 samples), and 2 % for the bias in snr.
    """
    m = ud.GaussianMixture(torch.zeros(1, 60), 0.7, None, ud.VP())
    sampler = ud.PredictorCorrector(ud.Ancestral(), ud.Langevin(0.1, measured=True))
    x = ud.sample(m, 1000, sampler, grids.log_snr(m.process, 80, 0.01), like=DOUBLE, batch_size=1000)
    assert x.square().mean() == pytest.approx(0.49, rel=5 * (2 / 60_000) ** 0.5 + 0.02)


@pytest.mark.parametrize("snr", [0.1, 0.5])
def test_metropolis_leaves_the_law_as_it_is(snr):
    """Exact at any step: 400 moves at fixed t from exact draws, where plain Langevin at 0.5 is visibly off."""
    m, t, noise = mixture(ud.VP()), torch.tensor(0.3, dtype=torch.float64), ud.Noise(range(1000))
    start, truth = m.sample(1000, noise, t), m.sample(1000, noise.fold("truth"), t)

    def moved(corrector):
        state = ud.State(start, t)
        for k in range(400):
            state = corrector(m, state, noise.fold("move", k))
        return state.x

    assert same_law(moved(ud.Metropolis(snr)), truth) > 1 / 201
    if snr == 0.5:
        wrong = moved(ud.Langevin(snr)).std(0) / truth.std(0)
        assert (wrong > 1.05).any()


def test_metropolis_mixes_from_a_wrong_start():
    m, t, noise = mixture(ud.VP()), torch.tensor(0.3, dtype=torch.float64), ud.Noise(range(1000))
    state = ud.State(torch.zeros(1000, 2, dtype=torch.float64), t)
    for k in range(150):
        state = ud.Metropolis(0.5)(m, state, noise.fold("move", k))
    assert same_law(state.x, m.sample(1000, noise.fold("truth"), t)) > 1 / 201
