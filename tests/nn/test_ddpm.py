"""The "ddpm" layout of the U-Net, and Gaussian Fourier features."""

import math
from statistics import NormalDist

import pytest
import torch
from torch import nn

from undrift.condition import Condition
from undrift.nn import Conditioning, Fourier, UNet
from undrift.nn.attend import Attention
from undrift.nn.unet import Stage

PAPER = {"widths": (32, 64), "layout": "ddpm", "injection": "addition", "embedding": 128, "group": 1}
SMALL = {"widths": (8, 12), "blocks": 1, "layout": "ddpm", "embedding": 16}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def awake(net, std=0.2):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * std)
    return net.eval()


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_it_has_the_parameters_of_001():
    """001 counts what it does not train too: a table of 32 sinusoids for each of 1,000 times, or 64 frequencies."""
    assert parameters(UNet(1, **PAPER)) == 949_889 - 1000 * 32
    assert parameters(UNet(1, **PAPER, features="fourier")) == 897_217 - 64


def test_32_groups_one_head_and_attention_in_the_middle_alone():
    net = UNet(1, **PAPER)
    assert {m.num_groups for m in net.modules() if isinstance(m, nn.GroupNorm)} == {32}
    [attention] = [m for m in net.modules() if isinstance(m, Attention)]
    assert attention is net.middle[0].attention and attention.heads == 1
    assert [len(stage) for stage in net.down] == [2, 2] and [len(stage) for stage in net.up] == [3, 3]


@pytest.mark.parametrize("injection", ["addition", "adaptive"])
@pytest.mark.parametrize("group", [1, 4])
def test_what_is_added_to_a_group_of_one_channel_is_lost(group, injection):
    """001's fault: its blocks of 32 features are never told the time. A norm takes away what is constant in a group."""
    net, x = awake(UNet(1, (8, 8), layout="ddpm", embedding=16, injection=injection, group=group)), torch.randn(1, 1, 8, 8)
    change = (net(x, torch.tensor([-1.0])) - net(x, torch.tensor([1.0]))).abs().max()
    assert (change < 1e-3) == (group == 1 and injection == "addition")


def test_every_layer_has_a_skip_and_every_skip_its_block():
    """Widths that tell the skips apart: 3 levels of 2 blocks; the way up reads them in reverse, the stem's last."""
    net = UNet(1, (4, 8, 12), layout="ddpm", embedding=16)
    came = [[12 + 12, 12 + 12, 12 + 8], [12 + 8, 8 + 8, 8 + 4], [8 + 4, 4 + 4, 4 + 4]]  # what came up, and the skip
    assert [[block.conv1.in_channels for block in stage] for stage in reversed(list(net.up))] == came
    x = torch.randn(1, 1, 9, 6)
    before = awake(net)(x, torch.zeros(1))
    for i in range(9):  # cutting any skip changes the answer
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Stage, "forward", _cutting(i, Stage.forward))
            assert (net(x, torch.zeros(1)) - before).abs().max() > 1e-3


def _cutting(number, forward):
    def cut(self, h, told, take=None, leave=None):
        if take is not None and number < len(take):
            take[number] = torch.zeros_like(take[number])
        return forward(self, h, told, take, leave)

    return cut


@pytest.mark.parametrize("side", [48, 49])
def test_pixels_come_back_where_they_were(side):
    """A picture moved by two pixels, the stride of two levels, gives the answer moved by two: no crop or convolution is off by one."""
    net = awake(UNet(1, (8, 8), **{k: v for k, v in SMALL.items() if k != "widths"}))
    a, b = torch.zeros(1, 1, side, side), torch.zeros(1, 1, side, side)
    a[..., 24, 24], b[..., 26, 22] = 3.0, 3.0
    one, two = (net(x, torch.zeros(1)) for x in (a, b))
    assert (one - one[..., 10, 10]).abs().max() > 0.01
    torch.testing.assert_close(two[..., 18:34, 14:30], one[..., 16:32, 16:32], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 31), (1, 1, 1), (3, 7, 9), (1, 5, 7, 6)])
@pytest.mark.parametrize("patch", [1, 2])
def test_all_else_that_a_unet_does(shape, patch):
    options = {
        **SMALL,
        "patch": patch,
        "rank": len(shape) - 1,
        "sequence": 4,
        "vector": 2,
        "classes": 3,
        "learned_variance": True,
    }
    net, x = awake(UNet(shape[0], **options)), torch.randn(2, *shape)
    told = Condition(label=torch.tensor([2, -1]), vector=torch.randn(2, 2), sequence=torch.randn(2, 3, 4))
    out = net(x, torch.zeros(2), told)
    assert out.shape == (2, 2 * shape[0], *shape[1:]) and out.isfinite().all()
    for part in ("vector", "sequence"):
        other = Condition(**(told.parts() | {part: getattr(told, part).flip(0) + 0.5}))
        assert (net(x, torch.zeros(2), other) - out).abs().max() > 1e-6


def test_activations_computed_twice_give_the_same_gradients():
    net, x = awake(UNet(1, **SMALL)).train(), torch.randn(2, 1, 8, 8)
    gradients = []
    for again in (False, True):
        for stage in (m for m in net.modules() if isinstance(m, Stage)):
            stage.recompute = again
        net.zero_grad()
        net(x, torch.zeros(2)).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_fourier_features_are_waves_of_normal_frequencies():
    features = Fourier(2000)
    w = features.frequencies / (2 * math.pi)
    level = torch.tensor([0.3, -1.2])
    cosine, sine = features(level).chunk(2, 1)
    torch.testing.assert_close(torch.complex(cosine, sine), torch.exp(2j * math.pi * level[:, None] * w), atol=1e-5, rtol=0)
    ordered, n = w.double().sort().values, len(w)
    law = torch.tensor([NormalDist().cdf(float(v)) for v in ordered])
    place = torch.arange(n, dtype=torch.float64) / n
    distance = torch.maximum((law - place).abs(), (law - place - 1 / n).abs()).max()
    assert distance < 1.63 / math.sqrt(n)  # Kolmogorov-Smirnov at 1 %; the draw is fixed


def test_frequencies_are_fixed_and_no_weights():
    """The same whatever the seed and whoever builds the network; so they need not be saved, and averages do not touch them."""
    torch.manual_seed(1)
    one = Conditioning(16, sinusoids=0)
    torch.manual_seed(2)
    two = Conditioning(16, sinusoids=0)
    assert torch.equal(one.embed.frequencies, two.embed.frequencies)
    assert not one.state_dict() and not list(one.parameters())
    torch.testing.assert_close(one.embed.frequencies[:2] / (2 * math.pi), torch.tensor([1.01280, 0.69974]), atol=1e-5, rtol=0)
