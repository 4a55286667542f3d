"""Data of any spread: scaled with their noise, they are sampled alike."""

import pytest
import torch

import undrift as ud
from conftest import ALL_SAMPLERS, mixture
from undrift import times as grids
from undrift.denoiser import unit_of
from undrift.guidance.shift import REACH, within_reach
from undrift.recipe.tables import GRIDS

DOUBLE = torch.empty(0, dtype=torch.float64)
FEWER = {name: sampler for name, (sampler, _) in ALL_SAMPLERS.items()} | {"annealed-langevin": ud.AnnealedLangevin(corrections=3)}


def scaled(by, sigma_max=50.0):
    """The mixture of the tests with a spread of exactly one, under VE, both times `by`."""
    m = mixture()
    means, stds = m.means / m.sigma_data, 0.3 / m.sigma_data
    one = ud.GaussianMixture(means, stds, [0.3, 0.7])
    return ud.GaussianMixture(
        means / one.sigma_data * by, stds / one.sigma_data * by, [0.3, 0.7], ud.VE(0.01 * by, sigma_max * by)
    )


def test_the_spread_of_exact_laws():
    """The root of the covariance's trace over d, about the mean: by 100,000 draws (5 standard errors), and for one point 1."""
    covs = [[[0.30, 0.12], [0.12, 0.15]], [[0.10, -0.05], [-0.05, 0.40]]]
    for m in (mixture(), mixture(kind="isotropic"), ud.GaussianMixture([[1e3, -1e3], [1e3, 0.0]], covs, [0.2, 0.8])):
        x = m.sample(100_000, ud.Noise(range(100_000)))
        assert m.sigma_data == pytest.approx((x - x.mean(0)).square().mean().sqrt().item(), rel=0.02)
    assert ud.Empirical(torch.tensor([[3.0, 4.0]])).sigma_data == 1
    assert scaled(100).sigma_data == pytest.approx(100)


def test_a_spread_of_about_one_is_one():
    """So unit-spread data and all models of data in [-1, 1] or in standard deviations are sampled as ever, bit for bit."""
    assert [unit_of(s) for s in (0.05, 0.1, 0.5, 1.0, 10.0, 20.0)] == [0.05, 1, 1, 1, 1, 20.0]
    process = ud.VP()
    assert grids.in_units(process, 1.0) is process


@pytest.mark.parametrize("grid", [*GRIDS, "fitted"])
def test_every_grid_is_laid_in_units_of_the_data(grid):
    layout = GRIDS.get(grid) or grids.Fitted(((1000.0, 3.0, 0.5, 0.1),))
    one, other = (ud.sampler.laid_out(scaled(by), layout, 8) for by in (1, 100))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert grid == "uniform" or not torch.allclose(layout(scaled(100).process, 8)[:3], one[:3], atol=1e-3)


@pytest.mark.parametrize("kind", FEWER)
def test_scaled_data_give_scaled_samples(kind):
    sampler = FEWER[kind]
    for grid in (grids.straight, grids.log_snr):
        one, other = (ud.sample(scaled(by), 16, sampler, 6, grid=grid, like=DOUBLE) for by in (1, 100))
        # Step control multiplies rounding: a step accepted in one and not in the other.
        torch.testing.assert_close(100 * one, other, rtol=1e-7, atol=1e-6 if kind != "adaptive" else 1e-2)


def test_spreads_far_from_one_are_sampled_right():
    """Data of standard deviation 100 under VE to 5,000: it came out as 0.76 to 0.97 of that on grids for unit spread."""
    m = ud.GaussianMixture(torch.zeros(1, 2), 100.0, None, ud.VE(0.01, 5000.0))
    for grid in (grids.straight, grids.log_snr, grids.karras, grids.cosine):
        x = ud.sample(m, 4000, ud.Ancestral(), 300, grid=grid, like=DOUBLE, batch_size=4000)
        assert x.std() == pytest.approx(100, rel=0.04)  # standard error 0.8 %; the steps leave out 2 %


def test_a_network_is_sampled_in_units_of_its_data_and_sees_log_snr_as_it_is():
    """What saved networks were trained on stays; where they are asked follows their `sigma_data`."""
    seen = []

    class Net(torch.nn.Module):
        def forward(self, x, level, cond):
            seen.append(level)
            return torch.zeros_like(x)

    network = ud.Denoiser(Net(), ud.VE(1.0, 5000.0), sigma_data=100.0, shape=(2,))
    ud.sample(network, 2, steps=4)
    ratios = torch.exp(-network.process.log_snr(ud.sampler.laid_out(network, grids.straight, 4)[:-1]) / 2)
    torch.testing.assert_close(
        ratios / (100 + ratios) / (50 / 51), torch.tensor([1.0, 0.75, 0.5, 0.25]).double(), atol=0.01, rtol=0
    )
    torch.testing.assert_close(torch.stack(seen)[:, 0].double(), (ratios.log() / 4).clamp(max=1.25), atol=1e-6, rtol=1e-6)


def test_wrappers_pass_the_spread_on():
    from undrift.denoiser import AnyDenoiser
    from undrift.guidance.told import WhereTold
    from undrift.inverse import MMPS, Posterior
    from undrift.inverse.operator import matrix
    from undrift.likelihood.latent import _Blend

    m = scaled(100)
    operator = matrix(torch.eye(2)[:1])
    wrapped = {
        "Given": m.given(None), "Rescaled": m.using(ud.VE(1, 4000)), "Counted": ud.Counted(m), "Mix": ud.Mix(m, m, 2.0),
        "Interval": ud.Interval(m, m, 0.1, 1.0), "WhereTold": WhereTold(m, m), "Edit": ud.Edit(m, ud.clip(-1, 1)),
        "Compose": ud.Compose(m, (m, 1.0)), "Tilt": ud.Tilt(m, lambda x, t, c: x.sum(1), 1.0),
        "Known": ud.Known(m, torch.zeros(2), torch.tensor([True, False])), "_Blend": _Blend(m, m, torch.ones(1)),
        "Posterior": Posterior(m, operator, torch.zeros(1, 1), 1.0, MMPS()),
    }  # fmt: skip
    assert all(w.sigma_data == m.sigma_data and w.unit == m.unit for w in wrapped.values())

    def below(cls):
        return {cls, *(c for sub in cls.__subclasses__() for c in below(sub))}

    named = {c.__name__ for c in below(AnyDenoiser) if c.__module__.startswith("undrift.")}
    assert named - {"AnyDenoiser", "Denoiser", "GaussianMixture", "Empirical"} <= wrapped.keys()


def test_the_reach_of_gradients_is_in_units_of_the_data():
    """A measurement guides scaled data alike; at sigma/alpha = 80 of unit spread, 8,000 of a hundredfold one."""
    from undrift.inverse import MMPS, Posterior
    from undrift.inverse.operator import matrix

    operator, found = matrix(torch.eye(2)[:1]), []
    for by in (1.0, 100.0):
        m = scaled(by, 500.0)
        posterior = Posterior(m, operator, torch.full((1, 1), 0.4 * by), 0.1 * by, MMPS())
        x = m.process.sigma(torch.tensor(1.0).double()) * ud.Noise(range(6)).normal(torch.empty(6, 2, dtype=torch.float64))
        found.append(posterior(x, 1.0).data / by)
        near = within_reach(m.process, x, 1.0, REACH * m.unit)[1]
        assert m.process.sigma(near) / m.process.alpha(near) == pytest.approx(80 * by, rel=1e-6)
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)
