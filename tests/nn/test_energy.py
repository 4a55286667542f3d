"""A score that is a gradient by construction."""

import pytest
import torch

import undrift as ud
from undrift import target
from undrift.nn import MLP, Energy, UNet, energy_at

TARGETS = {"score": target.score, "noise": target.noise, "v": target.v, "data": target.data, "karras": target.karras(0.7)}


def energetic(name="score", process=None, net=None):
    torch.manual_seed(1)
    net = net or MLP((3,), 24, 2)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return ud.Denoiser(Energy(net).double(), process or ud.VP(), TARGETS[name], sigma_data=0.7)


@pytest.mark.parametrize("name", TARGETS)
def test_score_is_conservative_under_every_target(name):
    """The Jacobian of the score is symmetric; that of a free network is not."""
    denoiser, x = energetic(name), torch.randn(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: ud.score_at(denoiser, y[None], 0.4)[0], x)
    torch.testing.assert_close(jacobian, jacobian.mT, rtol=1e-9, atol=1e-10)
    free = ud.Denoiser(denoiser.net.net, denoiser.process, denoiser.target, 0.7)
    jacobian = torch.autograd.functional.jacobian(lambda y: ud.score_at(free, y[None], 0.4)[0], x)
    assert (jacobian - jacobian.mT).abs().max() > 1e-2


@pytest.mark.parametrize("process", [ud.VP(), ud.VE(), ud.Rectified(t_max=0.99)], ids=str)
@pytest.mark.parametrize("name", TARGETS)
def test_line_integral_is_the_energy_difference(name, process):
    denoiser, nodes = energetic(name, process), torch.linspace(0, 1, 401, dtype=torch.float64)
    a, b = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    path = a + nodes[:, None] * (b - a) + 0.5 * torch.sin(torch.pi * nodes)[:, None]  # not straight
    step = path.diff(dim=0)
    score = ud.score_at(denoiser, (path[1:] + path[:-1]) / 2, 0.4)
    work = (score * step).sum()
    energy = energy_at(denoiser, torch.stack([a, b]), torch.tensor([0.4, 0.4]).double())
    torch.testing.assert_close(work, energy[0] - energy[1], rtol=1e-3, atol=1e-4)


def test_energy_of_scalar_networks_and_pictures():
    class Bowl(torch.nn.Module):
        def forward(self, x, level, cond):
            return x.square().flatten(1).sum(1, keepdim=True) / 2

    x = torch.randn(4, 1, 2, 2)
    torch.testing.assert_close(Energy(Bowl())(x, torch.zeros(4)), -x)
    net = Energy(UNet(1, widths=(8,), blocks=1))
    assert net(torch.randn(2, 1, 5, 4), torch.zeros(2)).shape == (2, 1, 5, 4)
    with pytest.raises(ValueError, match="an energy is"):
        Energy(MLP((2,), learned_variance=True))(torch.randn(3, 2), torch.zeros(3))
    with pytest.raises(TypeError, match="around an `Energy` network"):
        energy_at(ud.Denoiser(MLP((2,)), ud.VP()), torch.zeros(1, 2), 0.5)


@pytest.mark.parametrize("objective", [ud.DenoisingScoreMatching(), ud.SlicedScoreMatching(2, weight="sigma2")])
def test_trains_by_denoising_and_by_sliced_score_matching(objective):
    """Second and third derivatives: the explicit error against the exact score falls. Then sample, under no_grad."""
    torch.manual_seed(0)
    m = ud.GaussianMixture([[1.0, -1.0]], 0.4, process=ud.VP(t_min=0.05))
    denoiser = ud.Denoiser(Energy(MLP((2,), 32, 1)), m.process)
    optimizer = torch.optim.Adam(denoiser.parameters(), 5e-3)
    noise = ud.Noise(range(1000)).fold("test")

    def error():
        with torch.no_grad():
            return ud.ExplicitScoreMatching(m, weight="sigma2")(denoiser, m.sample(1000, noise).float(), noise).mean().item()

    before = error()
    for step in range(350):
        address = ud.Noise(range(128)).fold("train", step)
        loss = objective(denoiser, m.sample(128, address).float(), address).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error() < before / 2, (before, error())
    x = ud.sample(denoiser, (1000, 2), steps=15)
    assert not x.requires_grad
    torch.testing.assert_close(x.mean(0), torch.tensor([1.0, -1.0]), rtol=0, atol=0.2)
