"""The papers' own networks: one calling convention, whatever is inside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import undrift as ud
from undrift.condition import Condition
from undrift.error import RecipeError
from undrift.nn import EncoderDecoder, PlainMLP, RefineNet, UNet
from undrift.recipe.build import build_network
from undrift.recipe.tables import NETWORKS

SHAPE = (3, 7, 9)
LADDER = {"levels": 5, "sigma_min": 0.05, "sigma_max": 2.0}
DDPM = {"layout": "ddpm", "blocks": 1, "embedding": 16, "injection": "addition"}
BUILD = {
    "encoder-decoder": lambda shape, classes: EncoderDecoder(shape[0], (6, 8, 8), classes),
    "refinenet": lambda shape, classes: RefineNet(shape[0], (6, 8, 8, 8), classes=classes, **LADDER),
    "perceptron": lambda shape, classes: PlainMLP(shape, (40, 40), classes=classes),
    "perceptron logsigmoid": lambda shape, classes: PlainMLP(shape, (40, 40), "logsigmoid", classes=classes),
    "ddpm": lambda shape, classes: UNet(shape[0], (8, 12), classes=classes, **DDPM),
    "ddpm fourier": lambda shape, classes: UNet(shape[0], (8, 12), classes=classes, features="fourier", **DDPM),
}
EVERY = pytest.mark.parametrize("name", BUILD)


def awake(net: nn.Module) -> nn.Module:
    """Every parameter at a random value: tables and output layers start at zero, which would hide faults upstream."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    return net.eval()


def made(name: str, shape=SHAPE, classes: int = 3) -> nn.Module:
    return awake(BUILD[name](shape, classes))


def batch(n: int, shape=SHAPE):
    """Pictures, levels all along the ladder, and classes from -1 to 2."""
    x = torch.randn(n, *shape, generator=torch.Generator().manual_seed(n))
    ends = torch.tensor([LADDER["sigma_min"], LADDER["sigma_max"]]).log() / 4
    return x, torch.lerp(*ends, torch.linspace(0, 1, n)), torch.arange(n) % 4 - 1


@EVERY
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 31), (3, 7, 9), (2, 8, 8), (1, 13, 5), (1, 28, 28)])
def test_any_size_in_the_same_size_out(name, shape):
    x, level, cond = batch(2, shape)
    out = made(name, shape)(x, level, cond)
    assert out.shape == x.shape and out.dtype == x.dtype
    assert out.isfinite().all() and out.any()


@EVERY
def test_samples_do_not_see_each_other(name):
    net, (x, level, cond) = made(name), batch(7)
    together = net(x, level, cond)
    for i in range(7):
        alone = net(x[i : i + 1], level[i : i + 1], cond[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-4)


@EVERY
def test_gradient_reaches_every_parameter_and_the_input(name):
    net, (x, level, cond) = made(name), batch(8)
    x.requires_grad_()
    net(x, level, cond).square().sum().backward()
    assert x.grad.abs().amin(dim=(1, 2, 3)).gt(0).all()
    largest = {key: p.grad.abs().max() for key, p in net.named_parameters()}
    assert min(largest.values()) > 1e-6 * max(largest.values()), min(largest, key=largest.get)


@EVERY
def test_none_is_the_null_class_and_no_class_equals_another(name):
    net, (x, level, _) = made(name), batch(1)
    x, level = x.expand(4, *SHAPE), level.expand(4)
    answers = net(x, level, torch.tensor([-1, 0, 1, 2]))
    torch.testing.assert_close(net(x, level)[0], answers[0])
    torch.testing.assert_close(net(x, level, Condition())[0], answers[0])
    assert (answers[:, None] - answers).abs().amax((2, 3, 4))[~torch.eye(4, dtype=torch.bool)].min() > 1e-3


@EVERY
def test_the_level_matters_to_its_own_sample(name):
    net, (x, level, cond) = made(name), batch(3)
    answer, moved = net(x, level, cond), net(x, level + torch.tensor([0, 0.1, 0]), cond)
    torch.testing.assert_close(moved[::2], answer[::2])
    assert (moved[1] - answer[1]).abs().max() > 1e-4


@EVERY
def test_double_precision(name):
    net, (x, level, cond) = made(name), batch(3)
    single, double = net(x, level, cond), net.double()(x.double(), level.double(), cond)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3 * double.std().item())


@EVERY
def test_without_classes_and_wrong_input(name):
    net, (x, level, cond) = made(name, classes=0), batch(2)
    assert net(x, level).shape == x.shape
    with pytest.raises(ValueError, match="built with `classes` = 0"):
        net(x, level, cond)
    net = made(name)
    with pytest.raises(ValueError, match=r"`x` must have shape \(B, 3, "):
        net(x[:, :2], level)
    with pytest.raises(ValueError, match=r"`level` must have shape \(2,\)"):
        net(x, level[:1])
    with pytest.raises(ValueError, match=r"`cond` must lie in \[-1, 3\)"):
        net(x, level, cond + 4)
    with pytest.raises(ValueError, match=r"has a part (image|sequence)"):
        net(x, level, Condition(image=x) if name != "perceptron" else Condition(sequence=torch.zeros(2, 1, 1)))


@EVERY
def test_it_learns_to_denoise(name):
    """Stripes of either sign in noise of their own size: the mean predicts them with an error of 1, the optimum with nearly none."""
    torch.manual_seed(0)
    shape = (1, 8, 8)
    stripes = (torch.tensor([1.0, 1, -1, -1]).repeat(2)).expand(shape)
    denoiser = ud.Denoiser(BUILD[name](shape, 0), ud.Karras(0.5, 2.0), ud.target.data, 1.0, shape)
    objective, optimiser = ud.DenoisingScoreMatching(), torch.optim.Adam(denoiser.parameters(), 1e-2)
    losses = []
    for step in range(60):
        noise = ud.Noise(range(16)).fold("learn", step)
        sign = noise.fold("sign").normal((16, 1, 1, 1)).sign()
        loss = objective(denoiser, sign * stripes, noise).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.3, losses[::10]


@pytest.mark.parametrize("kind", NETWORKS)
def test_built_from_a_description_and_loaded(kind):
    small = {"mlp": {"width": 8}, "unet": {"widths": [8], "embedding": 8}, "perceptron": {"widths": [8]}}
    options = {"kind": kind} | small.get(kind, {"widths": [4, 4, 4, 4]})
    with torch.device("meta"):  # as a model of a stranger is: shapes first
        shapes = {k: v.shape for k, v in build_network(options, (1, 8, 8), 3).state_dict().items()}
    net = awake(build_network(options, (1, 8, 8), 3))
    assert {k: v.shape for k, v in net.state_dict().items()} == shapes
    again = build_network(options, (1, 8, 8), 3).eval()
    again.load_state_dict(net.state_dict())
    x, level, cond = batch(4, (1, 8, 8))
    torch.testing.assert_close(again(x, level, cond), net(x, level, cond))


@pytest.mark.parametrize("kind", ["encoder-decoder", "refinenet"])
def test_networks_of_pictures_say_so(kind):
    for shape in ((2,), (1, 8), (1, 4, 4, 4)):
        with pytest.raises(RecipeError, match=rf"network.kind={kind} wants images \(C, H, W\), but these data have shape"):
            build_network({"kind": kind, "widths": [4, 4, 4, 4]}, shape, 0)
    with pytest.raises(RecipeError, match=r"condition.kind=text is told to pictures; use network.kind=unet"):
        build_network({"kind": kind}, (1, 8, 8), 0, {"kind": "text", "width": 8, "words": ["a"], "length": 1, "examples": ["a"]})


X, LEVEL = torch.zeros(2, 1, 8, 8), torch.zeros(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EncoderDecoder(0), "`channels_in` and `widths` must be at least 1"),
        (lambda: EncoderDecoder(1, ()), "`channels_in` and `widths` must be at least 1"),
        (lambda: EncoderDecoder(1, classes=-1), r"but are 1, \(32, 64, 128, 256, 256\), -1, 0 and 0"),
        (lambda: RefineNet(1, (8, 8)), "there is one width more than dilations"),
        (lambda: RefineNet(1, (8,), ()), None),
        (lambda: RefineNet(1, (8, 0), (2,)), "must be at least 1"),
        (lambda: RefineNet(1, (8, 8), (2,), levels=1), "`levels` must be at least 2"),
        (lambda: RefineNet(1, (8, 8), (2,), sigma_min=2.0), r"0 < sigma_min < sigma_max, but they are 10, 2.0 and 1.0"),
        (lambda: PlainMLP((2,), ()), "`widths` and the sizes of `shape` must be at least 1"),
        (lambda: PlainMLP((0,)), "`widths` and the sizes of `shape` must be at least 1"),
        (lambda: PlainMLP((2,), activation="tanh"), "`activation` 'tanh' is not one of relu, logsigmoid"),
        (lambda: PlainMLP((2,), told=False, classes=2), "`told` = False reads no classes"),
        (lambda: UNet(1, layout="adm"), "`layout` 'adm' is not one of lean, ddpm"),
        (lambda: UNet(1, features="random"), "`features` 'random' is not one of sinusoids, fourier"),
        (lambda: UNet(1, (7,), layout="ddpm"), "`width` of the sinusoids must be even and at least 4, but is 7"),
        (lambda: UNet(1, embedding=7, features="fourier"), "`width` of the Fourier features must be even and at least 2, but is 7"),
    ],
)  # fmt: skip
def test_what_errors_say(call, message):
    if message is None:
        assert call()(X, LEVEL).shape == X.shape
        return
    with pytest.raises(ValueError, match=message):
        call()
