"""NCSN's RefineNet: its size, its rows of gains, and what each block computes."""

import math

import pytest
import torch
from torch.nn import functional as F

import undrift as ud
from undrift.denoiser import network_input
from undrift.nn import RefineNet
from undrift.nn.refinenet import Norm, Pool, Refine, Unit
from undrift.process import SMLD

SMALL = {"widths": (6, 8), "dilations": (2,)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def awake(net, std=0.3):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * std)
    return net.eval()


def test_it_has_the_parameters_of_001_but_those_that_nothing_reads():
    """211,019,999, of which the second input of the deepest block and its fusion (from 001's layer sizes) are never used."""
    gains, deepest = 3 * 10, 1024
    convolution = 9 * deepest**2 + deepest
    unit = 2 * (gains * deepest + convolution)
    unread = deepest**2 + deepest + 2 * unit + 2 * (gains * deepest + convolution)
    with torch.device("meta"):
        net = RefineNet(1)
    assert sum(p.numel() for p in net.parameters()) == 211_019_999 - unread == 153_156_831


def test_a_ladder_has_one_row_for_each_of_its_levels():
    """Seen through the process of the same ladder, level i reads row i alone; between two rows shares are linear in log sigma."""
    net, process = RefineNet(1, **SMALL, levels=6, sigma_min=0.02, sigma_max=2.0), SMLD(6, 0.02, 2.0)
    _, level = network_input(process, torch.zeros(6, 1, 2, 2), process.levels[:-1].flip(0), 0.5)
    torch.testing.assert_close(net.told(level, ud.Condition()), torch.eye(6), atol=1e-5, rtol=0)
    third = torch.lerp(level[2], level[3], 1 / 3)
    told = net.told(torch.stack([third, level[0] - 0.1, level[-1] + 0.1]), ud.Condition())
    expected = torch.tensor([[0, 0, 2 / 3, 1 / 3, 0, 0], [1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]])
    torch.testing.assert_close(told, expected, atol=1e-5, rtol=0)


def test_the_gains_of_a_level_are_its_own():
    net, level = (
        awake(RefineNet(2, **SMALL, levels=4, sigma_min=0.1, sigma_max=0.8)),
        torch.tensor([0.1, 0.2, 0.4, 0.8]).log() / 4,
    )
    x = torch.randn(1, 2, 6, 5).expand(4, -1, -1, -1)
    before = net(x, level)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Norm):
                module.table[2] += 0.5
    change = (net(x, level) - before).abs().amax((1, 2, 3))
    assert change[2] > 0.1 and change[[0, 1, 3]].max() < 1e-4
    assert (net(x[:1], level[1:3].mean().reshape(1)) - net(x[:1], level[:1])).abs().max() > 0.01


def test_a_norm_is_conditional_instance_norm():
    """gamma_{i,k} (x_k - mu_k)/s_k + beta_{i,k} + alpha_{i,k} (mu_k - m)/v (003 footnote 2; Song & Ermon 2019, appendix A)."""
    norm, i = Norm(3, 5), torch.tensor([4, 1])
    h = torch.randn(2, 3, 4, 4) + torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1)
    gamma, beta, alpha = torch.randn(3, 5, 3)
    with torch.no_grad():
        norm.table.copy_(torch.cat([gamma - 1, beta, alpha], 1))
    mu, s = h.mean((2, 3), keepdim=True), h.std((2, 3), correction=0, keepdim=True)
    m, v = mu.mean(1, keepdim=True), mu.std(1, correction=0, keepdim=True)
    rows = [t[i][:, :, None, None] for t in (gamma, beta, alpha)]
    expected = rows[0] * (h - mu) / s + rows[1] + rows[2] * (mu - m) / v
    torch.testing.assert_close(norm(h, torch.eye(5)[i]), expected, rtol=1e-3, atol=1e-3)


def bypassed(monkeypatch):
    """Norms and activations out of the way: what is left is linear, and its reach can be read off."""
    monkeypatch.setattr(Norm, "forward", lambda self, h, told: h)
    monkeypatch.setattr(F, "elu", lambda h: h)


@pytest.mark.parametrize("dilation", [2, 4, 8])
def test_a_dilated_unit_sees_that_far_and_adds_nothing(dilation, monkeypatch):
    bypassed(monkeypatch)
    unit = Unit(1, 1, 2, dilation=dilation)
    for p in unit.parameters():
        torch.nn.init.constant_(p, float(p.ndim > 1))
    x = torch.zeros(1, 1, 1, 41)
    x[..., 20] = 1
    seen = (unit(x, None)[0, 0, 0] != 0).nonzero().flatten() - 20
    assert seen.tolist() == sorted({a + b for a in (-dilation, 0, dilation) for b in (-1, 0, 1)})


def test_units_halve_once_and_add_only_where_nothing_changes(monkeypatch):
    net, x = RefineNet(1, (4, 4, 4, 4)), torch.randn(2, 1, 13, 8)
    sides = []
    for stage in net.down:
        stage.register_forward_hook(lambda module, args, out: sides.append(tuple(out.shape[2:])))
    net(x, torch.zeros(2))
    assert sides == [(7, 4)] * 4
    assert [[unit.residual for unit in stage] for stage in net.down] == [[True, True, False]] * 4
    assert [stage[-1].conv1.dilation[0] for stage in net.down] == [1, 2, 4, 8]
    bypassed(monkeypatch)
    unit = Unit(1, 1, 2)
    for p in unit.parameters():
        torch.nn.init.zeros_(p)
    torch.testing.assert_close(unit(x, None), x)


def test_pooling_is_a_chain_and_its_links_are_summed(monkeypatch):
    """Each link pools what the link before it made: with links that double, x + 2x + 4x. Pooling is the mean over 5 x 5."""
    bypassed(monkeypatch)
    refine = Refine((2, 3), 2, 4)
    for adapt in refine.adapt:
        monkeypatch.setattr(type(adapt), "forward", lambda self, h, told: h[:, :2])
    for i, conv in enumerate(refine.convs):
        monkeypatch.setattr(conv, "forward", lambda h, i=i: (i + 1) * h)
    monkeypatch.setattr(Unit, "forward", lambda self, h, told: h)
    monkeypatch.setattr(Pool, "forward", lambda self, h, told: 2 * h)
    one, two = torch.randn(1, 2, 3, 3), torch.randn(1, 3, 3, 3)
    torch.testing.assert_close(refine([one, two], None), 7 * (one + 2 * two[:, :2]))
    monkeypatch.undo()
    bypassed(monkeypatch)
    pool = Pool(1, 2)
    monkeypatch.setattr(pool.conv, "forward", lambda h: h)
    x = torch.zeros(1, 1, 9, 9)
    x[..., 4, 4] = 25
    torch.testing.assert_close(pool(x, None)[0, 0, 4], torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 0, 0]))


def test_every_block_of_the_way_up_reads_its_stage_and_the_block_below():
    net, x = awake(RefineNet(1, (4, 5, 6), (2, 4))), torch.randn(1, 1, 8, 8)
    read = {}
    for i, refine in enumerate(net.up):
        refine.register_forward_hook(lambda module, args, out, i=i: read.__setitem__(i, [h.shape[1] for h in args[0]]))
    net(x, torch.zeros(1))
    assert read == {2: [6], 1: [5, 6], 0: [4, 5]}


def test_one_channel_is_seen_without_its_brightness():
    """001's fault, to norm the picture itself: one channel shifted by a number is the same picture. Of three, differences are left."""
    level = torch.tensor([-0.3])
    for channels, blind in ((1, True), (3, False)):
        net, x = awake(RefineNet(channels, **SMALL)), torch.randn(1, channels, 8, 8)
        shift = torch.linspace(1, 2, channels).view(1, -1, 1, 1)
        change = (net(x + shift, level) - net(x, level)).abs().max()
        assert (change < 1e-4) == blind


def test_a_class_adds_a_row_to_that_of_the_level():
    net = RefineNet(1, **SMALL, levels=2, sigma_min=0.1, sigma_max=1.0, classes=3)
    told = net.told(torch.tensor([math.log(0.1) / 4, 0.0, 0.0]), ud.Condition(label=torch.tensor([2, 0, -1])))
    assert told.tolist() == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 1, 0, 0], [0, 1, 1, 0, 0, 0]]
