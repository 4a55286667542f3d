"""Classifier guidance on exact mixtures: with the exact p(y | x_t) it is Bayes, and Bayes is known."""

import itertools
from dataclasses import dataclass

import pytest
import torch

import undrift as ud
from conftest import Counted, mixture, same_law
from undrift.guidance.tilt import FAINT
from undrift.process import expand
from undrift.reverse import reverse_step
from undrift.sampler.base import State

DOUBLE = torch.empty(0, dtype=torch.float64)
X, Y = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0, 1, 1, 0])


def bayes(law):
    """log p(y | x_t), without the underflow of a posterior far out."""
    return lambda x, t, cond: law.log_prob(x, t, cond) - law.log_prob(x, t)


def tilt(law, scale=None, **options):
    return ud.Tilt(law.given(None), bayes(law), scale, **options)


def close(a, b, tolerance=1e-9):
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_scale_one_is_the_exact_conditional(process, times):
    law = mixture(process)
    for t in times:
        x = process.sigma(t).clamp(min=1) * X
        close(tilt(law)(x, t, Y), law(x, t, Y))
        close(ud.Tilt(law.given(None), ud.class_log_prob(lambda x, t: law.posterior(x, t).log()))(x, t, Y), law(x, t, Y))
    each = times[:6]
    x = expand(process.sigma(each).clamp(min=1), X) * X
    close(tilt(law)(x, each, Y), law(x, each, Y))


def test_tilt_and_mix_agree_at_every_scale(process, times):
    law = mixture(process)
    for scale, t in itertools.product((-1.5, 0.0, 0.5, 3.0), times):
        x = process.sigma(t).clamp(min=1) * X
        close(tilt(law, scale)(x, t, Y), ud.Mix(law, law.given(None), scale)(x, t, Y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_at_both_ends_of_time(process, dtype):
    """Finite, the halves add up, and in pure noise the data half is still Bayes: the ratio of two zeros has its limit."""
    law = mixture(process)
    for end in (process.t_min, process.t_max, process.t_min + 1e-7, process.t_max - 1e-7):
        t = torch.tensor(end, dtype=torch.float64)
        alpha, sigma = process(t)
        x = (sigma.clamp(min=1) * X).to(dtype)
        guided = tilt(law, 2.0)(x, t, Y)
        assert guided.data.dtype == dtype and torch.isfinite(torch.cat(guided)).all()
        torch.testing.assert_close(alpha * guided.data + sigma * guided.noise, x, rtol=1e-5, atol=1e-6)
        error = 50 * FAINT if dtype == torch.float64 else 0.02
        mixed = ud.Mix(law, law.given(None), 2.0)(x, t, Y)
        if alpha < sigma:
            torch.testing.assert_close(guided.data, mixed.data, rtol=error, atol=error)


@dataclass(frozen=True)
class Fading(ud.Process):
    """Signal that is long gone while the noise still grows."""

    def alpha(self, t):
        return torch.exp(-20 * t)

    def sigma(self, t):
        return t


def test_a_signal_that_is_long_gone_while_the_noise_still_grows():
    law = ud.GaussianMixture([[1.5, 0.5], [-1.0, -0.5]], [0.3, 0.6], [0.3, 0.7], Fading())
    for t in (0.4, 0.6, 0.8, 1.0):
        found, wanted = tilt(law, 2.0)(t * X, t, Y), ud.Mix(law, law.given(None), 2.0)(t * X, t, Y)
        torch.testing.assert_close(found.data, wanted.data, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found.noise, wanted.noise)
    asked = []

    def log_prob(x, t, cond):
        asked.append((x.detach(), t))
        return x.sum(1)

    ud.Tilt(law, log_prob)(X, 1.0)
    ((x, t),) = asked  # at a less noisy time, with a sample of that time's size
    torch.testing.assert_close(x, law.process.sigma(t) * X)
    assert t < 0.6


SAMPLERS = {"dpm2m": (ud.DPM2M(), 60), "heun": (ud.Heun(), 40), "ancestral": (ud.Ancestral(), 150)}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_follow_the_class(name):
    """Two-sample test against the exact conditional, 1000 each; a false alarm has probability 1/201 for each sampler."""
    law, y = mixture(ud.Rectified()), (torch.arange(1000) % 2)
    sampler, steps = SAMPLERS[name]
    x = ud.sample(tilt(law), 1000, sampler, steps, cond=y, like=DOUBLE)
    truth = law.draw(y, ud.Noise(range(1000)).fold("truth"))
    for k in (0, 1):
        assert same_law(x[y == k], truth[y == k]) > 1 / 201
    assert same_law(ud.sample(tilt(law, 0.3), 1000, sampler, steps, cond=y, like=DOUBLE)[y == 0], truth[y == 0]) <= 1 / 201


def test_it_composes():
    """Inside Mix, through another process, in float32 under no_grad, and in batches."""
    law = mixture(ud.VP())
    guided = tilt(law)
    close(ud.Mix(guided, law.given(None), 2.5)(X, 0.4, Y), ud.Mix(law, law.given(None), 2.5)(X, 0.4, Y))
    for other in (ud.Karras(), ud.Rectified()):
        close(guided.using(other)(X, 0.5, Y), law.using(other)(X, 0.5, Y))
    close(guided.given(Y)(X, 0.4), law(X, 0.4, Y))
    a = ud.sample(guided, 20, ud.Heun(), 10, cond=0, like=torch.empty(0))
    b = ud.sample(law, 20, ud.Heun(), 10, cond=0, like=torch.empty(0))
    assert a.dtype == torch.float32 and not a.requires_grad
    torch.testing.assert_close(a, b, atol=2e-3, rtol=0)
    assert torch.equal(ud.sample(guided, 20, ud.Heun(), 10, cond=0, like=torch.empty(0), batch_size=7), a)


def test_the_tilted_flow_has_the_conditional_density():
    """The gradient can be differentiated again: log p(x | y) by the flow of the tilted denoiser."""
    law = mixture(ud.VP())
    x = law.draw(Y, ud.Noise(range(6)))
    found = ud.log_likelihood(tilt(law), x, cond=Y, steps=60).value
    wanted = ud.log_likelihood(law, x, cond=Y, steps=60).value
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(found, law.log_prob(x, cond=Y), atol=2e-2, rtol=0)  # the prior's mismatch


def test_any_function_of_noisy_samples():
    """A measurement y = x_0 + noise of a Gaussian: p(y | x_t) is Gaussian, and so is the posterior, of known mean and spread."""
    law, spread, y = ud.GaussianMixture(torch.zeros(1, 1), 1.0, None, ud.Cosine()), 0.5, 1.2

    def log_prob(x, t, cond):
        alpha, sigma = law.process(t)
        gain, left = alpha / (alpha**2 + sigma**2), sigma**2 / (alpha**2 + sigma**2)
        return -0.5 * ((y - gain * x[:, 0]) ** 2 / (spread**2 + left))

    x = ud.sample(ud.Tilt(law, log_prob), 3000, ud.Heun(), 60, like=DOUBLE)[:, 0]
    assert x.mean().item() == pytest.approx(y / (1 + spread**2), abs=4 * 0.447 / 3000**0.5)
    assert x.std().item() == pytest.approx((spread**2 / (1 + spread**2)) ** 0.5, rel=4 / 6000**0.5)


def test_unknown_labels_are_not_guided_and_scales_are_each_samples_own():
    law = mixture(ud.VP())
    classifier = ud.class_log_prob(lambda x, t: law.posterior(x, t).log())
    some = torch.where(torch.arange(6) < 3, Y, -1)
    mixed = ud.Tilt(law.given(None), classifier, 2.0)(X, 0.4, some)
    close((mixed.data[3:], mixed.noise[3:]), law(X[3:], 0.4))
    close((mixed.data[:3],), (ud.Tilt(law.given(None), classifier, 2.0)(X[:3], 0.4, Y[:3]).data,))
    close(ud.Tilt(law, classifier)(X, 0.4), law(X, 0.4))
    scales = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, 4.0], dtype=torch.float64)
    together = tilt(law, scales)(X, 0.4, Y).data
    for i, s in enumerate(scales.tolist()):
        close((together[i : i + 1],), (tilt(law, s)(X[i : i + 1], 0.4, Y[i : i + 1]).data,))
    close(tilt(law, w=1.5)(X, 0.4, Y), tilt(law, 2.5)(X, 0.4, Y))
    counted = Counted(law)
    ud.Tilt(counted, lambda *_: pytest.fail("asked at scale 0"), 0.0)(X, 0.4, Y)
    assert counted.calls == 1


def gradient(law, x, t, y):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(bayes(law)(x, t, y).sum(), x)[0]


def adm(law, x, t, s, scale, y, z, at_mean=False):
    """Dhariwal & Nichol 2021, Algorithm 1: x_s ~ N(mu + scale Sigma grad log p(y | x_t), Sigma), Sigma = beta-tilde."""
    step = reverse_step(law.process, t, s)
    mean = step.data * law(x, t).data + step.state * x
    return mean + scale * step.tilde * gradient(law, mean if at_mean else x, t, y) + step.tilde.sqrt() * z.normal(x)


def test_one_step_of_adm_is_an_ancestral_step_of_tilt(process):
    """The same mean shift, with the gradient at x_t: its scale differs by beta-tilde r / beta, which goes to 1 with the step."""
    law, noise = mixture(process), ud.Noise(range(6))
    span = process.t_max - process.t_min
    t, s = (torch.tensor(process.t_min + f * span, dtype=torch.float64) for f in (0.4, 0.35))
    step, (alpha_t, alpha_s) = reverse_step(process, t, s), (process.alpha(t), process.alpha(s))
    scale = 2.0 * (step.tilde * alpha_t / alpha_s / step.beta).item()
    x = process.perturb(X, t, noise.fold("eps").normal(X))
    ours = ud.Ancestral().step(tilt(law, scale).given(Y), State(x, t), s, noise).x
    close((ours,), (adm(law, x, t, s, 2.0, Y, noise),))
    assert (ours - adm(law, x, t, s, 2.0, Y, noise, at_mean=True)).abs().max() > 1e-6


def test_adm_s_form_agrees_with_the_score_form_to_first_order():
    """The same noise at every number of steps would be another path, so: no noise, the chain of means alone."""

    class Silent:
        def normal(self, like):
            return torch.zeros_like(like)

        def fold(self, *_):
            return self

    law = mixture(ud.VP())
    start = torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y, guided, gaps = torch.arange(32) % 2, tilt(law, 2.0), []
    for n in (25, 50, 100, 200):
        ours = theirs = start
        for t, s in itertools.pairwise(ud.times.log_snr(law.process, n, 0.1, 80)[:-1]):
            ours = ud.Ancestral().step(guided.given(y), State(ours, t), s, Silent()).x
            theirs = adm(law, theirs, t, s, 2.0, y, Silent())
        gaps.append((ours - theirs).abs().mean().item())
    orders = [torch.tensor(a / b).log2().item() for a, b in itertools.pairwise(gaps)]
    assert all(0.7 < order < 1.3 for order in orders), (gaps, orders)
    assert gaps[-1] < 0.03


class Ramp(torch.nn.Module):
    """Logits that are as steep as the input, at every level."""

    def forward(self, x, level):
        return torch.stack([x[:, 0], -x[:, 0]], 1)


def test_the_noisy_classifier_says_the_prior_in_pure_noise_and_stays_bounded():
    process = ud.Rectified()
    classifier = ud.NoisyClassifier(Ramp(), process, [3.0, 1.0], sigma_data=0.5)
    x = torch.tensor([[5.0, 1.0, 0.0, 2.0], [-2.0, 0.0, 1.0, 0.0]])  # D = 4: four entries tell more than one
    torch.testing.assert_close(classifier.logits(x, 1.0).exp(), torch.tensor([[0.75, 0.25]] * 2))
    y, base = torch.zeros(2, dtype=torch.int64), ud.GaussianMixture(torch.zeros(1, 4), 0.5, None, process)
    shifts = []
    for t in (0.5, 0.99, 0.9999, 1 - 1e-6, 1.0):
        alpha, sigma = process(torch.tensor(t).double())
        snr = 4 * (0.5 * alpha / sigma) ** 2
        z = (x[:, 0] / (sigma**2 + 0.25 * alpha**2).sqrt() * (snr / (1 + snr)).sqrt()).double()
        wanted = torch.tensor([3.0, 1.0]).log().log_softmax(0) + torch.stack([z, -z], 1)
        torch.testing.assert_close(classifier.logits(x, t).double(), wanted, atol=1e-5, rtol=1e-5)
        shifts.append((ud.Tilt(base, classifier)(x, t, y).data - base(x, t).data).abs().max().item())
    assert max(shifts) < 2 * 2 * 0.5 and min(shifts[1:]) > 0.02
    torch.testing.assert_close(torch.tensor(shifts[2:]), torch.tensor(shifts[2]).expand(3), rtol=1e-2, atol=0)
    with pytest.raises(ValueError, match="needs one process"):
        ud.Tilt(base.using(ud.VP()), classifier)
    with pytest.raises(ValueError, match="positive frequencies"):
        ud.NoisyClassifier(Ramp(), process, [1.0, 0.0])


@pytest.mark.parametrize(("call", "message"), [
    (lambda law: tilt(law, 2.0, w=1.0), "not both"),
    (lambda law: ud.Tilt(law, lambda x, t, c: x)(X, 0.4), "must return"),
    (lambda law: ud.Tilt(law, lambda x, t, c: x.detach()[:, 0])(X, 0.4), "without a gradient"),
    (lambda law: ud.Tilt(law.given(None), ud.class_log_prob(lambda x, t: x))(X, 0.4, Y + 1), "class numbers below 2"),
    (lambda law: ud.Tilt(law.given(None), ud.class_log_prob(lambda x, t: x))(X, 0.4, Y[:3]), "class numbers"),
    (lambda law: tilt(law, torch.ones(4))(X, 0.4, Y), "for a batch of 6"),
])  # fmt: skip
def test_what_cannot_be_tilted(call, message):
    with pytest.raises(ValueError, match=message):
        call(mixture(ud.VP()))
