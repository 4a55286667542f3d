"""Latents: there and back, their law, and paths between data."""

import pytest
import torch

import undrift as ud
from conftest import PROCESSES, mixture, same_law
from undrift.likelihood import Solver, round_trip

DOUBLE = torch.float64
FINE = {"rtol": 1e-10}


@pytest.mark.parametrize("name", ["VE", "VP", "SubVP", "Cosine", "Rectified", "Karras", "DDPM"])
def test_encode_then_decode_is_the_identity(name):
    m = mixture(PROCESSES[name])
    x = m.sample(8, ud.Noise(range(8)))
    options = FINE
    z = ud.encode(m, x, **options)
    assert (ud.decode(m, z, **options) - x).abs().max() < 1e-8
    assert (round_trip(m, x, **options) < 1e-8).all() and (z - x).abs().max() > 0.3
    assert 1e-8 < round_trip(m, x, steps=6).max() < 0.5


def test_the_latent_is_that_of_the_flow():
    """One Gaussian: the flow is linear, x_T = x sqrt((alpha_T^2 s^2 + sigma_T^2) / s^2), known without solving anything."""
    for process in (ud.VP(), ud.VE(0.01, 20.0), ud.Rectified()):
        m = ud.GaussianMixture(torch.zeros(1, 2), 0.6, process=process)
        x, t = torch.tensor([[0.5, -1.0], [0.1, 0.2]], dtype=DOUBLE), torch.tensor(process.t_max).double()
        alpha, sigma = process(t)
        start = 1e-4 if process.t_min == 0 and not isinstance(process, ud.VE) else 0.01
        expected = x * ((0.36 * alpha**2 + sigma**2) / (0.36 + start**2)).sqrt()
        torch.testing.assert_close(ud.encode(m, x, **FINE), expected, atol=1e-8, rtol=1e-7)


def test_latents_of_data_are_the_prior_and_back():
    """Energy two-sample tests, 800 each, p > 1/201."""
    m, noise = mixture(ud.Rectified()), ud.Noise(range(800))
    x = m.sample(800, noise.fold("x"))
    z = m.process.prior(torch.empty(800, 2, dtype=DOUBLE), noise.fold("z"))
    assert same_law(ud.encode(m, x, steps=16), z) > 1 / 201
    assert same_law(ud.decode(m, z, steps=16), m.sample(800, noise.fold("truth"))) > 1 / 201


def test_the_batch_does_not_matter_nor_its_axes():
    m = mixture(ud.VP())
    x = m.sample(6, ud.Noise(range(6)))
    assert torch.equal(ud.encode(m, x), ud.encode(m, x, batch_size=1))
    image = ud.GaussianMixture(m.means.view(2, 1, 1, 2), torch.tensor([0.3, 0.4]))
    flat = ud.GaussianMixture(m.means, torch.tensor([0.3, 0.4]))
    torch.testing.assert_close(ud.encode(image, x.view(6, 1, 1, 2)).view(6, 2), ud.encode(flat, x))
    y = torch.tensor([0, 1, 0, 1, 1, 0])
    torch.testing.assert_close(ud.encode(m, x, cond=y, batch_size=4), ud.encode(m.given(y), x))


@pytest.mark.parametrize("kind", ["linear", "slerp"])
def test_interpolation_goes_from_a_to_b(kind):
    m = mixture(ud.VP())
    x = m.sample(6, ud.Noise(range(6)))
    path = ud.interpolate(m, x[:3], x[3:], 5, kind, **FINE)
    assert path.shape == (3, 5, 2)
    torch.testing.assert_close(path[:, 0], x[:3], atol=1e-8, rtol=0)
    torch.testing.assert_close(path[:, -1], x[3:], atol=1e-8, rtol=0)
    middle = ud.encode(m, path[:, 2], **FINE)
    a, b = ud.encode(m, x[:3], **FINE), ud.encode(m, x[3:], **FINE)
    if kind == "linear":
        torch.testing.assert_close(middle, (a + b) / 2, atol=1e-7, rtol=0)
    else:  # sin(h) / sin(2 h) = 1 / (2 cos h)
        half = torch.nn.functional.cosine_similarity(a, b).arccos() / 2
        torch.testing.assert_close(middle, (a + b) / (2 * half.cos()[:, None]), atol=1e-7, rtol=1e-7)


def test_slerp_keeps_the_norm_and_opposite_latents_go_straight():
    m = ud.GaussianMixture(torch.zeros(1, 2), 1.0, process=ud.Rectified())  # an isotropic law: its flow is a scaling
    a, b = torch.tensor([[1.0, 0.0]], dtype=DOUBLE), torch.tensor([[0.0, 1.0]], dtype=DOUBLE)
    norms = ud.interpolate(m, a, b, 7, **FINE).norm(dim=2)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-7, rtol=0)
    assert ud.interpolate(m, a, b, 7, "linear", **FINE).norm(dim=2).min() < 0.8
    through = ud.interpolate(m, a, -a, 3, **FINE)
    torch.testing.assert_close(through[0, 1], torch.zeros(2, dtype=DOUBLE), atol=1e-7, rtol=0)


def test_along_classes():
    """Each end is met under its own class, one or both given for all; frames are decoded under the blend of both."""
    m = mixture(ud.Rectified())
    a, b = (m.draw(torch.full((2,), k), ud.Noise(range(2)).fold("x")) for k in (0, 1))
    y = torch.tensor([0, 0]), torch.tensor([1, 1])
    path = ud.interpolate(m, a, b, 5, cond=y[0], cond_b=y[1], **FINE)
    torch.testing.assert_close(path[:, 0], a, atol=1e-8, rtol=0)
    torch.testing.assert_close(path[:, -1], b, atol=1e-8, rtol=0)
    torch.testing.assert_close(ud.interpolate(m, a[:1], b[:1], 5, cond=0, cond_b=1, **FINE), path[:1])
    mixed = torch.tensor([0, 1]), torch.tensor([1, 0])  # each path has classes of its own
    two = ud.interpolate(m, torch.stack([a[0], b[1]]), torch.stack([b[0], a[1]]), 3, cond=mixed[0], cond_b=mixed[1], **FINE)
    torch.testing.assert_close(
        two[:, ::2], torch.stack([torch.stack([a[0], b[0]]), torch.stack([b[1], a[1]])]), atol=1e-8, rtol=0
    )
    z = ud.encode(m, a, cond=y[0], **FINE)
    half = ud.Mix(m.given(torch.tensor(1).expand(2)), m.given(torch.tensor(0).expand(2)), 0.5)
    same = ud.interpolate(m, a, ud.decode(m, z, cond=y[1], **FINE), 3, "linear", cond=0, cond_b=1, **FINE)
    torch.testing.assert_close(same[:, 1], ud.decode(half, z, **FINE), atol=1e-7, rtol=0)  # equal latents: only the class moves


M, X = mixture(ud.VP()), torch.zeros(2, 2, dtype=DOUBLE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ud.interpolate(M, X, X, 1), "at least 2, got 1"),
        (lambda: ud.interpolate(M, X, X, kind="cubic"), "`kind` is one of slerp, linear, got"),
        (lambda: ud.interpolate(M, X, X[:1]), "must have one shape"),
        (lambda: ud.encode(M, X / 0), "NaN or infinities"),
        (lambda: ud.decode(M, X[:, :1]), "`z` has samples of shape"),
        (lambda: ud.encode(M, X, batch_size=0), "at least 1"),
        (lambda: ud.encode(M, X, solver=Solver(), steps=3), "has its own steps"),
    ],
)
def test_what_has_no_latent(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_flow_that_is_not_finite():
    class Wild(ud.AnyDenoiser):
        process = ud.VP()

        def forward(self, x, t, cond=None):
            return ud.Prediction(x / 0, x / 0)

    with pytest.raises(RuntimeError, match="2 of 2 samples to values that are not finite"):
        ud.encode(Wild(), X + 1, steps=3)
