"""Targets, denoisers and their changes of view."""

import dataclasses

import pytest
import torch

import undrift as ud
from conftest import PROCESSES, mixture
from undrift import target
from undrift.process import expand
from undrift.target import determinant, solve

TARGETS = {
    "data": target.data, "noise": target.noise, "score": target.score,
    "v": target.v, "velocity": target.velocity, "karras": target.karras(0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_solve_inverts_every_target(name, process, times):
    x0, eps = torch.randn(2, len(times), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    a, b = (expand(c, x0) for c in TARGETS[name](process, times))
    x = process.perturb(x0, times, eps)
    (p, q), (r, w) = ((expand(c, x0), expand(d, x0)) for c, d in solve(TARGETS[name], process, times))
    output = a * x0 + b * eps
    torch.testing.assert_close(p * x + q * output, x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(r * x + w * output, eps, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_determinants_are_those_of_the_table(name, process, times):
    alpha, sigma = process(times)
    dalpha, dsigma = process.rates(times)
    table = {
        "data": -sigma, "noise": alpha, "score": -alpha / sigma, "v": alpha**2 + sigma**2,
        "velocity": alpha * dsigma - sigma * dalpha, "karras": -((alpha * 0.5) ** 2 + sigma**2).sqrt() / 0.5,
    }  # fmt: skip
    torch.testing.assert_close(determinant(TARGETS[name], process, times), table[name])


def test_karras_at_one_is_minus_v(times, process):
    scale = (process.alpha(times) ** 2 + process.sigma(times) ** 2).sqrt()
    for k, v in zip(target.karras(1.0)(process, times), target.v(process, times), strict=True):
        torch.testing.assert_close(k, -v / scale)


def test_karras_is_edm():
    """c_skip, c_out, c_in, c_noise of Karras et al. 2022, table 1."""
    sd, t, seen = 0.5, torch.tensor(0.7).double(), []

    class Net(torch.nn.Module):
        def forward(self, x, level, cond):
            seen.append((x, level))
            return torch.sin(x)

    x = torch.randn(3, 2, dtype=torch.float64)
    data = ud.Denoiser(Net(), ud.Karras(), sigma_data=sd)(x, t).data
    c_in, c_skip, c_out = 1 / (sd**2 + t**2).sqrt(), sd**2 / (sd**2 + t**2), t * sd / (sd**2 + t**2).sqrt()
    torch.testing.assert_close(data, c_skip * x + c_out * torch.sin(c_in * x))
    torch.testing.assert_close(seen[0][0], c_in * x)
    torch.testing.assert_close(seen[0][1], (t.log() / 4).expand(3))


@pytest.mark.parametrize("name", TARGETS)
def test_prediction_always_adds_up(name, process, times):
    class Net(torch.nn.Module):
        def forward(self, x, level, cond):
            return torch.cos(3 * x) + level[:, None]

    if name in ("noise", "score") and process in (ud.Rectified(), ud.Cosine()):
        process = dataclasses.replace(process, t_max=0.9999)
    x = torch.randn(len(times), 3, dtype=torch.float64)
    prediction = ud.Denoiser(Net(), process, TARGETS[name], sigma_data=0.5)(x, times)
    alpha, sigma = (expand(c, x) for c in process(times))
    torch.testing.assert_close(alpha * prediction.data + sigma * prediction.noise, x, rtol=1e-6, atol=1e-6)


class Returns(torch.nn.Module):
    """A network that returns what a function makes of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, level, cond):
        return self.function(x)


@pytest.mark.parametrize(
    ("shape", "function", "message"),
    [
        ((4, 2), lambda x: x[:, :1], r"returned shape \(4, 1\) for `x` of shape \(4, 2\); .* or \(4, 4\) with a variance head"),
        ((4, 2), lambda x: x[0], r"returned shape \(2,\)"),
        ((4, 2), lambda x: x.repeat(1, 3), r"returned shape \(4, 6\)"),
        ((4, 2), lambda x: x.repeat(2, 1), r"returned shape \(8, 2\)"),
        ((4, 3, 8, 8), lambda x: x.mean((2, 3), keepdim=True), r"returned shape \(4, 3, 1, 1\) .* or \(4, 6, 8, 8\)"),
        ((4, 3, 8, 8), lambda x: x.repeat(1, 2, 1, 1)[..., :7], r"returned shape \(4, 6, 8, 7\)"),
        ((4,), lambda x: x[:, None], r"returned shape \(4, 1\) for `x` of shape \(4,\); it must return a tensor of that shape\."),
        ((4, 2), lambda x: (x, x), "returned type tuple"),
    ],
)
def test_a_network_returns_what_it_was_given_the_shape_of(shape, function, message):
    """Anything else was broadcast, and looked like a prediction."""
    with pytest.raises(ValueError, match=message):
        ud.Denoiser(Returns(function), ud.VP())(torch.randn(shape), 0.5)
    ud.Denoiser(Returns(lambda x: x), ud.VP())(torch.randn(shape), 0.5)
    if len(shape) > 1:
        ud.Denoiser(Returns(lambda x: torch.cat([x, x], 1)), ud.VP()).with_fraction(torch.randn(shape), 0.5)


@pytest.mark.parametrize("sigma_data", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_spread_is_refused(sigma_data):
    with pytest.raises(ValueError, match="standard deviation and must be positive"):
        ud.Denoiser(torch.nn.Identity(), ud.VP(), target.data, sigma_data)


@pytest.mark.parametrize(
    "t", [torch.zeros(3), torch.zeros(4, 1), torch.zeros(1, 4), torch.zeros(0)], ids=lambda t: str(tuple(t.shape))
)
def test_times_are_one_for_all_or_one_each(t):
    m, x = mixture(), torch.randn(4, 2)
    network = ud.Denoiser(Returns(lambda x: x), ud.VP())
    for call in (
        m, network, m.using(ud.VE()), m.given(None), ud.Mix(network, m.using(ud.VP()), 2.0), m.log_prob,
        lambda x, t: ud.score_at(m, x, t), lambda x, t: ud.velocity_at(m, x, t), lambda x, t: m.process.perturb(x, t, x),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="pass one time"):
            call(x, t)


@pytest.mark.parametrize(
    "cond", [torch.zeros(3).long(), torch.zeros(4, 1).long(), torch.zeros(0).long()], ids=lambda c: str(tuple(c.shape))
)
def test_classes_are_one_for_all_or_one_each(cond):
    m, x = mixture(), torch.randn(4, 2)
    network = ud.Denoiser(ud.nn.MLP((2,), 8, 1, classes=2), ud.VP())
    for call in (m, network, m.using(ud.VE()), lambda x, t, c: m.given(c)(x, t), lambda x, t, c: m.log_prob(x, t, c)):
        with pytest.raises(ValueError, match=r"`cond` (has|must)"):
            call(x, 0.5, cond)


@pytest.mark.parametrize("name", ["noise", "score"])
def test_blind_targets_are_refused(name):
    with pytest.raises(ValueError, match="tells nothing about the data at t_max = 1"):
        ud.Denoiser(torch.nn.Identity(), ud.Rectified(), TARGETS[name])
    ud.Denoiser(torch.nn.Identity(), ud.Rectified(t_max=0.999), TARGETS[name])


def test_level_is_bounded_and_the_same_under_every_process():
    levels = {}

    class Net(torch.nn.Module):
        def forward(self, x, level, cond):
            levels["now"] = level
            return x

    x, log_snr = torch.zeros(1, 1), torch.tensor(1.3, dtype=torch.float64)
    for process in PROCESSES.values():
        ud.Denoiser(Net(), process, target.data)(x, process.time(log_snr))
        torch.testing.assert_close(levels["now"].item(), -1.3 / 8, rtol=1e-5, atol=1e-6)
    ud.Denoiser(Net(), ud.Rectified())(x, 1.0)
    assert levels["now"].item() == 1.25  # as at sigma/alpha = 150: noisier levels are too rare in training to be told apart


def test_score_and_velocity_of_the_exact_mixture(process, times):
    m = mixture(process)
    x = torch.randn(len(times), 2, dtype=torch.float64).requires_grad_()
    score = torch.autograd.grad(m.log_prob(x, times).sum(), x)[0]
    torch.testing.assert_close(ud.score_at(m, x, times), score, rtol=1e-6, atol=1e-8)
    f, g = expand(process.drift(times), x), expand(process.diffusion(times), x)
    flow = f * x - g**2 / 2 * score  # Song et al. 2021, eq. 13
    torch.testing.assert_close(ud.velocity_at(m, x, times), flow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_using_another_process_is_exact(name, process, times):
    """The mixture under one process, seen through another, is the mixture under the other."""
    inner, outer = PROCESSES[name], process
    x = torch.randn(len(times), 2, dtype=torch.float64)
    low = max(inner.log_snr(torch.tensor(inner.t_max).double()).item(), -30)
    high = inner.log_snr(torch.tensor(inner.t_min).double()).item()
    inside = (outer.log_snr(times) > low) & (outer.log_snr(times) < high)
    seen, native = mixture(inner).using(outer)(x, times), mixture(outer)(x, times)
    for a, b in zip(seen, native, strict=True):
        torch.testing.assert_close(a[inside], b[inside], rtol=1e-5, atol=1e-6)
        assert torch.isfinite(a).all()


def test_given_binds_for_good():
    m = mixture()
    x, y = torch.randn(4, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    assert torch.equal(m.given(y)(x, 0.3).data, m(x, 0.3, y).data)
    assert torch.equal(m.given(y).given(1 - y)(x, 0.3).data, m(x, 0.3, y).data)
    assert torch.equal(m.given(None)(x, 0.3, y).data, m(x, 0.3).data)


@pytest.mark.parametrize("old", PROCESSES)
@pytest.mark.parametrize("new", PROCESSES)
def test_any_process_can_be_seen_through_any_other_at_its_ends(old, new):
    process = PROCESSES[new]
    seen = mixture(PROCESSES[old]).using(process)
    x = torch.randn(3, 2, dtype=torch.float64).requires_grad_()
    sample = ud.sample(seen, 4, steps=5, like=torch.empty(0, dtype=torch.float64))
    assert torch.isfinite(sample).all()
    prediction = seen(x, process.t_max)
    assert torch.isfinite(prediction.data).all()
    assert torch.isfinite(torch.autograd.grad(prediction.data.sum(), x)[0]).all()


def test_the_data_target_is_finite_at_clean_data():
    prediction = ud.Denoiser(torch.nn.Identity(), ud.Rectified(), target.data)
    prediction.net.forward = lambda x, level, cond: x
    assert torch.isfinite(prediction(torch.ones(1, 2), 0.0).data).all()
