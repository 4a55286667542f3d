"""Particles against exact posteriors: the error falls as they grow, below that of the twist; the evidence is p(y)."""

import math

import pytest
import torch

import undrift as ud
from conftest import mixture
from undrift import inverse as inv

PROCESS = ud.VP()
MATRIX = torch.tensor([[1.0, 0.0]]).double()
OPERATOR, STD = inv.matrix(MATRIX), 0.3


def law():
    return mixture(PROCESS)


def sliced(a, b):
    directions = torch.tensor([[math.cos(u), math.sin(u)] for u in torch.linspace(0, 3, 16).tolist()]).double()
    return ((a @ directions.mT).sort(0).values - (b @ directions.mT).sort(0).values).abs().mean().item()


def truth(y, n):
    return law().given_observation(MATRIX, y, STD).sample(n, ud.Noise(range(n)).fold("truth"))


def test_the_error_falls_with_the_particles_below_the_twists():
    """Root mean square error of the posterior mean over 24 observations, of 8, 64 and 512 particles and of 512 draws."""
    y = law().sample(24, ud.Noise(range(24)).fold("y"))[:, :1]
    share = []
    for k in (8, 64, 512):
        found = inv.smc(law(), OPERATOR, y, STD, inv.DiffPIR(), k, 50)
        mean = (found.weights[..., None] * found.x).sum(1)
        exact = torch.stack([law().given_observation(MATRIX, row, STD)(torch.zeros(1, 2).double(), 1.0).data[0] for row in y])
        share.append((mean - exact).norm(dim=1).square().mean().sqrt().item())
    alone = ud.Posterior(law(), OPERATOR, y.repeat_interleave(512, 0), STD, inv.DiffPIR())
    drawn = ud.sample(alone, 24 * 512, ud.Ancestral(), 50, batch_size=24 * 512, like=torch.empty(0).double())
    twist = (drawn.view(24, 512, 2).mean(1) - exact).norm(dim=1).square().mean().sqrt().item()
    assert share[0] > 1.5 * share[1] > 2 * share[2], share
    assert share[2] < 0.5 * twist, (share, twist)


def test_the_evidence_is_the_density_of_y():
    """log p(y) of the mixture, over observations likely and unlikely; 1,024 particles, error below 0.15 nats."""
    y = torch.tensor([[-1.2], [0.3], [2.0]]).double()
    means, spread = law().means @ MATRIX.mT, torch.tensor([0.30, 0.10]).double() + STD**2
    parts = torch.tensor([0.3, 0.7]).double().log() - 0.5 * ((y - means[:, 0]) ** 2 / spread + (2 * math.pi * spread).log())
    for twist in (inv.MMPS(), inv.DiffPIR()):
        found = inv.smc(law(), OPERATOR, y, STD, twist, 1024, 60)
        assert (found.log_evidence - parts.logsumexp(1)).abs().max() < 0.15


def test_the_whole_law():
    """Sliced Wasserstein distance of weighted draws to the exact posterior, at most twice that of exact draws."""
    y = torch.tensor([0.3]).double()
    found = inv.smc(law(), OPERATOR, y, STD, inv.MMPS(), 800, 100).draw(400)[0]
    floor = sliced(truth(y, 400), law().given_observation(MATRIX, y, STD).sample(400, ud.Noise(range(400)).fold("b")))
    assert sliced(found, truth(y, 400)) < 2 * floor


def test_the_last_judge_is_y_itself():
    """Of a chain of one step the weights are the likelihoods of its ends, whatever was thought on the way."""
    y = torch.tensor([0.3]).double()
    found = inv.smc(law(), OPERATOR, y, STD, inv.DPS(), 16, torch.tensor([0.6, 0.0]).double())
    log_likelihood = -0.5 * ((y - found.x[..., 0]) / STD) ** 2 - math.log(STD * math.sqrt(2 * math.pi))
    assert log_likelihood.std() > 0.5
    torch.testing.assert_close(found.weights, log_likelihood.softmax(1))
    torch.testing.assert_close(found.log_evidence, log_likelihood.exp().mean(1).log())


def test_an_observation_depends_on_no_other():
    y = torch.tensor([[-1.2], [0.3], [2.0]]).double()
    together = inv.smc(law(), OPERATOR, y, STD, inv.MMPS(), 16, 10)
    for i in range(3):
        alone = inv.smc(law(), OPERATOR, y[i], STD, inv.MMPS(), 16, 10, first=i)
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=1e-9, atol=1e-9)
    assert together.x.shape == (3, 16, 2)
    torch.testing.assert_close(together.weights.sum(1), torch.ones(3).double())
    assert not torch.equal(inv.smc(law(), OPERATOR, y, STD, inv.MMPS(), 16, 10, seed=1).x, together.x)


def test_draws_follow_the_weights():
    particles = inv.Particles(torch.arange(4.0).view(1, 4, 1), torch.tensor([[0.5, 0.0, 0.25, 0.25]]), torch.zeros(1))
    assert particles.draw(8)[0, :, 0].tolist() == [0, 0, 0, 0, 2, 2, 3, 3]


def test_conditions_and_mistakes():
    y = torch.tensor([[1.5], [1.5]]).double()
    found = inv.smc(law(), OPERATOR, y, 2.0, inv.MMPS(), 64, 30, cond=torch.tensor([0, 1]))
    assert (law().posterior(found.x[0])[:, 0] > 0.5).double().mean() > 0.9
    assert (law().posterior(found.x[1])[:, 1] > 0.5).double().mean() > 0.9
    with pytest.raises(ValueError, match="at least 1"):
        inv.smc(law(), OPERATOR, y, STD, inv.MMPS(), 0)
    with pytest.raises(ValueError, match="of at least 0, got -1"):
        inv.smc(law(), OPERATOR, y, STD, inv.MMPS(), 4, 4, seed=-1)
    with pytest.raises(ValueError, match="must end at t_min"):
        inv.smc(law(), OPERATOR, y, STD, inv.MMPS(), 4, torch.tensor([1.0, 0.5]).double())
