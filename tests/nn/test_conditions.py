"""What networks are told: every way of injection depends on it, every null is the unconditional, at any size of picture."""

import pytest
import torch
from torch import nn

from undrift.condition import Condition, null_like
from undrift.nn import MLP, UNet
from undrift.nn.attend import CrossAttention
from undrift.nn.channels import InputChannels
from undrift.nn.inject import Adaptive, Addition, Instance

WAYS = pytest.mark.parametrize("injection", ["adaptive", "addition", "instance", "channels"])
KINDS = ("label", "vector", "image", "sequence")


def awake(net, std=0.3):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * std)
    return net.eval()


def unet(injection="adaptive", **sizes):
    sizes = {"classes": 3, "vector": 2, "image": 2, "sequence": 6} | sizes
    attention = (1,) if sizes["sequence"] else ()
    return awake(UNet(1, (8, 8), 1, attention=attention, embedding=16, injection=injection, **sizes))


def told(n=2, size=(7, 5), seed=0):
    g = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[True, True, True, False]]).expand(n, -1)
    return Condition(
        torch.randint(0, 3, (n,), generator=g), torch.randn(n, 2, generator=g), torch.randn(n, 2, *size, generator=g),
        torch.randn(n, 4, 6, generator=g), mask,
    )  # fmt: skip


def x_of(n=2, size=(7, 5)):
    return torch.randn(n, 1, *size, generator=torch.Generator().manual_seed(9))


@WAYS
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 5), (8, 8)])
def test_any_size(injection, size):
    out = unet(injection)(x_of(size=size), torch.zeros(2), told(size=size))
    assert out.shape == (2, 1, *size) and out.isfinite().all()


@WAYS
def test_every_way_depends_on_the_level_and_on_every_part(injection):
    """Changing one thing changes the answer of its own row and of no other."""
    net, x, c, level = unet(injection), x_of(), told(), torch.tensor([0.3, 0.3])
    answer = net(x, level, c)
    changed = net(x, torch.tensor([0.3, -0.4]), c)
    assert (changed[1] - answer[1]).abs().max() > 1e-3
    torch.testing.assert_close(changed[0], answer[0])
    for kind in KINDS:
        part = getattr(c, kind).clone()
        part[1] = (part[1] + 1) % 3 if kind == "label" else part[1].flip(0) + 0.5
        moved = net(x, level, Condition(**(c.parts() | {kind: part})))
        assert (moved[1] - answer[1]).abs().max() > 1e-4, kind
        torch.testing.assert_close(moved[0], answer[0], msg=kind)


@WAYS
def test_a_part_left_out_is_its_null(injection):
    net, x, c, level = unet(injection), x_of(), told(), torch.tensor([0.3, -0.2])
    nothing = net(x, level, None)
    torch.testing.assert_close(net(x, level, null_like(c)), nothing)
    torch.testing.assert_close(net(x, level, Condition()), nothing)
    for kind in KINDS:
        parts, null = c.parts(), null_like(c).parts()
        names = {kind, "mask"} if kind == "sequence" else {kind}
        without = net(x, level, Condition(**{k: v for k, v in parts.items() if k not in names}))
        blank = net(x, level, Condition(**{k: null[k] if k in names else v for k, v in parts.items()}))
        torch.testing.assert_close(blank, without, msg=kind)
        assert (without - net(x, level, c)).abs().max() > 1e-3, kind


@WAYS
def test_gradient_reaches_every_parameter(injection):
    net, c = unet(injection), told(4)
    blank = Condition(**{k: torch.cat([v[:2], null_like(c).parts()[k][2:]]) for k, v in c.parts().items()})
    net(x_of(4), torch.linspace(-1, 1, 4), blank).square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.any(), name


def test_what_each_way_computes():
    h = torch.randn(3, 8, 4, 5, generator=torch.Generator().manual_seed(1))
    a, b, c = torch.randn(3, 3, 8, 1, 1, generator=torch.Generator().manual_seed(2))
    groups = h.reshape(3, 2, 4, 4, 5)  # 8 channels in 2 groups
    normed = (groups - groups.mean((2, 3, 4), keepdim=True)) / (groups.var((2, 3, 4), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(Adaptive(8)(h, torch.cat([a, b], 1)), (1 + a) * normed.reshape(h.shape) + b)
    shifted = Addition(8)(h, a)
    torch.testing.assert_close(shifted.reshape(3, 2, -1).mean(2), torch.zeros(3, 2), atol=1e-5, rtol=0)  # after the sum
    torch.testing.assert_close(shifted, Adaptive(8)(h + a, torch.zeros(3, 16, 1, 1)))
    mu, s = h.mean((2, 3), keepdim=True), h.std((2, 3), correction=0, keepdim=True)
    m, v = mu.mean(1, keepdim=True), mu.std(1, correction=0, keepdim=True)
    expected = (1 + a) * (h - mu) / s + b + c * (mu - m) / v
    torch.testing.assert_close(Instance(8)(h, torch.cat([a, b, c], 1)), expected, rtol=1e-3, atol=1e-3)


def test_the_alpha_term_brings_the_brightness_of_channels_back():
    """Two pictures that differ by one number for each channel look the same to instance norm, and not with alpha."""
    h = torch.randn(1, 4, 5, 5)
    brighter = h + torch.tensor([1.0, -2.0, 0.5, 3.0]).view(1, 4, 1, 1)
    off, on = torch.zeros(1, 12, 1, 1), torch.cat([torch.zeros(1, 8, 1, 1), torch.ones(1, 4, 1, 1)], 1)
    torch.testing.assert_close(Instance(4)(h, off), Instance(4)(brighter, off), rtol=1e-4, atol=1e-4)
    assert (Instance(4)(h, on) - Instance(4)(brighter, on)).abs().max() > 0.1


def test_time_and_one_hot_class_are_channels():
    """000: the network's input is the picture, a channel of the level, and ten of the class."""
    beside = InputChannels(told=True, classes=3)
    assert beside.count == 4 and not list(beside.parameters())
    x = x_of(3, (2, 2))
    out = beside(x, torch.tensor([0.5, -1.0, 2.0]), Condition(label=torch.tensor([0, 2, -1])))
    assert torch.equal(out[:, :1], x)
    columns = torch.tensor([[0.5, 1, 0, 0], [-1.0, 0, 0, 1], [2.0, 0, 0, 0]])
    assert torch.equal(out[:, 1:], columns[:, :, None, None].expand(-1, -1, 2, 2))


def test_a_smaller_picture_is_enlarged_bilinearly_and_unknown_pixels_are_said():
    beside, x = InputChannels(image=1), torch.zeros(1, 1, 4, 4)
    small = torch.tensor([[0.0, 1.0], [2.0, 3.0]])[None, None]
    picture, known = beside(x, torch.zeros(1), Condition(image=small))[0, 1:]
    torch.testing.assert_close(picture[0], torch.tensor([0.0, 0.25, 0.75, 1.0]))  # pixel areas aligned
    torch.testing.assert_close(picture[:, 0], torch.tensor([0.0, 0.5, 1.5, 2.0]))
    assert known.all()
    holed = torch.arange(16.0).reshape(1, 1, 4, 4)
    holed[..., 1, 2] = torch.nan
    picture, known = beside(x, torch.zeros(1), Condition(image=holed))[0, 1:]
    assert picture[1, 2] == 0 and known[1, 2] == 0 and known.sum() == 15 and picture[3, 3] == 15
    with pytest.raises(ValueError, match=r"the image condition is \(5, 5\), larger than the input \(4, 4\)"):
        beside(x, torch.zeros(1), Condition(image=torch.zeros(1, 1, 5, 5)))


def test_masked_entries_are_read_by_nobody_and_order_is_the_embeddings_business():
    attend = awake(CrossAttention(8, 6))
    x, c = torch.randn(2, 8, 3, 4), told()
    answer = attend(x, c.sequence, c.mask)
    changed = c.sequence.clone()
    changed[:, 3] = torch.nan  # masked
    torch.testing.assert_close(attend(x, changed, c.mask), answer)
    changed = c.sequence.clone()
    changed[:, 2] = changed[:, 2].flip(1)
    assert (attend(x, changed, c.mask) - answer).abs().max() > 1e-3
    torch.testing.assert_close(attend(x, c.sequence[:, [2, 0, 1]], c.mask[:, :3]), answer)
    torch.testing.assert_close(attend(x, None, None), attend(x, c.sequence, torch.zeros_like(c.mask)))


def test_the_mlp_reads_vectors():
    net, g = awake(MLP((3,), 16, 1, classes=2, vector=4)), torch.Generator().manual_seed(3)
    x, level, v = torch.randn(5, 3, generator=g), torch.zeros(5), torch.randn(5, 4, generator=g)
    y = torch.tensor([0, 1, -1, 0, 1])
    known, unknown = net(x, level, Condition(y, v)), net(x, level, y)
    assert (known - unknown).abs().amax(1).min() > 1e-3
    v[2] = torch.nan
    mixed = net(x, level, Condition(y, v))
    torch.testing.assert_close(mixed[2], unknown[2])
    torch.testing.assert_close(mixed[[0, 1, 3, 4]], known[[0, 1, 3, 4]])


def test_a_vector_is_learned():
    """Data are the vector itself: the network must put out what it is told and zero when it is not told."""
    torch.manual_seed(0)
    net = MLP((2,), 32, 1, vector=2)
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(200):
        v = torch.randn(64, 2)
        shown = torch.where(torch.arange(64)[:, None] < 16, torch.nan, v) if step % 2 else v
        loss = (net(torch.randn(64, 2), torch.zeros(64), Condition(vector=shown)) - v)[16:].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


X = torch.zeros(2, 1, 8, 8)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: UNet(1, injection="film"), "`injection` 'film' is not one of adaptive, addition, instance, channels"),
    (lambda: UNet(1, sequence=8), "a sequence is read by the levels of `attention`, but there are none"),
    (lambda: UNet(1, image=-1), "`vector`, `image` and `sequence` must be 0 or more"),
    (lambda: MLP((2,), vector=-1), "`vector` must be 0"),
    (lambda: unet(vector=0)(X, torch.zeros(2), told()), "`cond` has a part vector, but the network was built with `vector` = 0"),
    (lambda: unet(classes=0)(X, torch.zeros(2), told()), "`cond` has a part label, but the network was built with `classes` = 0"),
    (lambda: unet(image=1)(X, torch.zeros(2), told()), r"`cond.image` has shape \(2, 2, 7, 5\), but the network was built with"),
    (lambda: unet(sequence=5)(X, torch.zeros(2), told()), r"`cond.sequence` has shape \(2, 4, 6\)"),
    (lambda: unet()(X, torch.zeros(2), told(3)), "`cond` has 3 rows for 2 samples"),
    (lambda: MLP((2,))(torch.zeros(2, 2), torch.zeros(2), told()), "`cond` has a part label, but the network was built"),
    (lambda: MLP((2,), classes=3, vector=2)(torch.zeros(2, 2), torch.zeros(2), told()), "`cond` has a part image"),
    (lambda: unet()(X, torch.zeros(2), Condition(label=torch.tensor([0, 3]))), r"must lie in \[-1, 3\), but spans 0 to 3"),
])  # fmt: skip
def test_errors_say_what_and_where(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_unet_learns_a_colour_from_its_picture():
    """The answer is the picture beside the noisy one, half the size: a few steps must find it."""
    torch.manual_seed(0)
    net = UNet(1, (16,), 1, embedding=16, image=1)
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(80):
        small = torch.randn(16, 1, 4, 4)
        wanted = nn.functional.interpolate(small, (8, 8), mode="bilinear")
        loss = (net(torch.randn(16, 1, 8, 8), torch.zeros(16), Condition(image=small)) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


def test_ways_of_injection_go_through_recipes():
    from undrift.error import RecipeError
    from undrift.recipe.build import build_network
    from undrift.recipe.options import kinds
    from undrift.recipe.read import load_recipe

    for way in ("adaptive", "addition", "instance", "channels"):
        recipe = load_recipe("digits", {"network.injection": way, "network.widths": [8]} | {"network.attention": []})
        net = build_network(kinds(recipe.network), (1, 8, 8), 10)
        assert net(X, torch.zeros(2), torch.tensor([3, -1])).shape == X.shape
    with pytest.raises(RecipeError, match=r'network\.injection "addtion" is unknown — did you mean "addition"'):
        load_recipe("digits", {"network.injection": "addtion"})
