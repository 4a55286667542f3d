"""The networks: shapes, conditions, gradients, independence of samples, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import undrift as ud
from undrift.nn import MLP, Classifier, Conditioning, Sinusoids, UNet
from undrift.nn.attend import attend
from undrift.nn.fold import double, fold, unfold

SMALL = {"widths": (8, 16), "blocks": 1, "embedding": 16}


def awake(net: nn.Module) -> nn.Module:
    """Give every parameter a random value: output layers start at zero, which would hide faults upstream."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.2)
    return net.eval()


def unet(channels: int = 1, classes: int = 3, **options: object) -> nn.Module:
    return awake(UNet(channels, classes=classes, **{**SMALL, **options}))  # type: ignore[arg-type]


def mlp(classes: int = 3) -> nn.Module:
    return awake(MLP((1, 4, 6), width=16, depth=2, classes=classes))


def batch(n: int, shape: tuple[int, ...] = (1, 4, 6)) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, *shape, generator=generator)
    level = torch.linspace(-2.5, 2.5, n) if n > 1 else torch.zeros(n)
    return x.to(torch.get_default_dtype()), level, torch.arange(n) % 4 - 1


BUILDERS = pytest.mark.parametrize("build", [unet, mlp])


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 9), (13, 5), (28, 28), (2, 31)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_unet_keeps_any_shape(size: tuple[int, int], channels: int, patch: int) -> None:
    x, level, cond = batch(2, (channels, *size))
    out = unet(channels, patch=patch, widths=(8, 8, 8), attention=(2,))(x, level, cond)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert out.is_contiguous()
    assert out.isfinite().all()
    assert (out != 0).all()


@pytest.mark.parametrize("shape", [(), (2,), (3, 4), (1, 2, 3, 4)])
def test_mlp_keeps_any_shape(shape: tuple[int, ...]) -> None:
    net = awake(MLP(shape, width=16, classes=3))
    x, level, cond = batch(5, shape)
    assert net(x, level, cond).shape == x.shape


@BUILDERS
def test_answer_is_zero_before_training(build: Callable[..., nn.Module]) -> None:
    fresh = UNet(1, **SMALL) if build is unet else MLP((1, 4, 6))  # type: ignore[arg-type]
    x, level, _ = batch(3)
    assert not fresh(x, level, None).any()


@BUILDERS
def test_none_is_the_null_class_and_no_class_equals_another(build: Callable[..., nn.Module]) -> None:
    net = build()
    x, level = batch(1)[0].expand(4, 1, 4, 6), torch.zeros(4)
    answers = net(x, level, torch.tensor([-1, 0, 1, 2]))
    torch.testing.assert_close(net(x, level, None)[0], answers[0])
    for i in range(4):
        for j in range(i):
            assert (answers[i] - answers[j]).abs().max() > 1e-3, f"classes {i - 1} and {j - 1} give the same answer"


@BUILDERS
def test_level_matters_at_both_ends(build: Callable[..., nn.Module]) -> None:
    net, x = build(), batch(1)[0].expand(4, 1, 4, 6)
    answers = net(x, torch.tensor([-2.5, -2.4, 2.4, 2.5]), None)
    for i in range(4):
        for j in range(i):
            assert (answers[i] - answers[j]).abs().max() > 1e-3


@BUILDERS
def test_samples_do_not_see_each_other(build: Callable[..., nn.Module]) -> None:
    net, (x, level, cond) = build(), batch(7)
    together = net(x, level, cond)
    for i in range(7):
        alone = net(x[i : i + 1], level[i : i + 1], cond[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_samples_do_not_see_each_other_with_attention(size: tuple[int, int]) -> None:
    net, (x, level, cond) = unet(2, patch=2, attention=(0, 1)), batch(7, (2, *size))
    together = net(x, level, cond)
    for i in range(7):
        alone = net(x[i : i + 1], level[i : i + 1], cond[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [lambda: unet(attention=(0, 1)), lambda: unet(patch=2, dropout=0.1), mlp])
def test_gradient_reaches_every_parameter_and_the_input(build: Callable[[], nn.Module]) -> None:
    net, (x, level, cond) = build(), batch(8)
    x.requires_grad_()
    net(x, level, cond).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().amin(dim=(1, 2, 3)).gt(0).all()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), f"no gradient at {name}"


def test_class_gradient_stays_in_its_row() -> None:
    net, (x, level, _) = unet(), batch(4)
    net(x, level, torch.tensor([1, 1, -1, -1])).square().sum().backward()
    table = net.conditioning.table
    assert isinstance(table, nn.Embedding)
    assert table.weight.grad is not None
    assert table.weight.grad.any(dim=1).tolist() == [True, False, True, False]  # rows: null, 0, 1, 2


def test_one_level_without_patch_is_equivariant_to_shifts_inside() -> None:
    """Cropping must return the pixel where it was: an answer off-centre would betray an offset."""
    net = unet(widths=(8,), classes=0)
    a, b = torch.zeros(1, 1, 25, 25), torch.zeros(1, 1, 25, 25)
    a[..., 12, 12], b[..., 13, 14] = 3.0, 3.0
    one, two = (net(x, torch.zeros(1), None) for x in (a, b))
    torch.testing.assert_close(two[..., 9:18, 10:19], one[..., 8:17, 8:17], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("patch", "size"), [(2, (7, 9)), (3, (10, 11)), (2, (8, 7))])
def test_padding_is_zeros_at_the_far_edges_and_is_cropped_away(patch: int, size: tuple[int, int]) -> None:
    net, (x, level, cond) = unet(patch=patch), batch(3, (1, *size))
    height, width = size
    padded = nn.functional.pad(x, (0, -width % patch, 0, -height % patch))
    whole = net(padded, level, cond)
    torch.testing.assert_close(net(x, level, cond), whole[..., :height, :width], rtol=1e-5, atol=1e-5)


def test_attention_reaches_across_the_picture() -> None:
    x, level, _ = batch(1, (1, 33, 33))
    moved = x.clone()
    moved[..., 0, 0] += 5
    for attention, far in (((), False), ((0,), True)):
        net = unet(widths=(8,), attention=attention)
        for module in net.modules():  # group norm's mean would itself carry news across the picture
            if isinstance(module, nn.GroupNorm):
                module.forward = lambda h: h  # type: ignore[method-assign, assignment]
        change = (net(moved, level, None) - net(x, level, None))[..., -1, -1].abs().item()
        assert (change > 0) == far


@BUILDERS
def test_double_precision(build: Callable[..., nn.Module]) -> None:
    x, level, cond = batch(3)
    single = build()(x, level, cond)
    double = build().double()(x.double(), level.double(), cond)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3)


def test_dropout_acts_in_training_only() -> None:
    net, (x, level, cond) = unet(dropout=0.5), batch(3)
    torch.testing.assert_close(net(x, level, cond), net(x, level, cond))
    net.train()
    assert not torch.equal(net(x, level, cond), net(x, level, cond))


def test_state_loads_into_a_fresh_network() -> None:
    net, (x, level, cond) = unet(patch=2, attention=(1,)), batch(3)
    fresh = UNet(1, classes=3, patch=2, attention=(1,), **SMALL).eval()  # type: ignore[arg-type]
    fresh.load_state_dict(net.state_dict())
    torch.testing.assert_close(fresh(x, level, cond), net(x, level, cond))


def test_lists_from_json_are_taken() -> None:
    net = UNet(1, widths=[8, 8], attention=[1])  # type: ignore[arg-type]
    assert net(torch.zeros(1, 1, 8, 8), torch.zeros(1)).shape == (1, 1, 8, 8)


def test_sinusoids_lie_in_the_unit_interval_and_tell_levels_apart() -> None:
    features = Sinusoids(64)(torch.linspace(-2.5, 2.5, 501))
    assert features.abs().max() <= 1
    gaps = torch.cdist(features, features) + 10 * torch.eye(501)
    assert gaps.min() > 0.01


def test_unet_learns() -> None:
    """Two classes, one bright and one dark: a few steps must teach the network which is which."""
    torch.manual_seed(0)
    net = UNet(1, classes=2, **SMALL)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    cond = torch.arange(32) % 2
    wanted = (2.0 * cond - 1).view(-1, 1, 1, 1).expand(-1, 1, 6, 6)
    for _ in range(60):
        loss = (net(torch.randn(32, 1, 6, 6), torch.zeros(32), cond) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (9, 13)])
@pytest.mark.parametrize("channels", [1, 3])
def test_classifier_shapes(size: tuple[int, int], channels: int) -> None:
    net, x = awake(Classifier(channels, 7, width=4)), batch(3, (channels, *size))[0]
    assert net(x).shape == (3, 7)  # type: ignore[operator]
    assert net.features(x).shape == (3, 16)  # type: ignore[operator]
    torch.testing.assert_close(net(x[:1])[0], net(x)[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.head(net.features(x)), net(x))  # type: ignore[operator]


def test_classifier_learns() -> None:
    """Bars across against bars down, in noise."""
    torch.manual_seed(0)
    net = Classifier(1, 2, width=8)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    bars = torch.zeros(2, 1, 8, 8)
    bars[0, :, ::2], bars[1, :, :, ::2] = 1, 1
    y = torch.arange(64) % 2
    for _ in range(25):
        loss = nn.functional.cross_entropy(net(bars[y] + 0.5 * torch.randn(64, 1, 8, 8)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    right = net.eval()(bars[y] + 0.5 * torch.randn(64, 1, 8, 8)).argmax(1) == y
    assert right.float().mean() > 0.95


X = torch.zeros(2, 1, 8, 8)
LEVEL = torch.zeros(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(0), "`channels_in` must be at least 1, but is 0"),
        (lambda: UNet(1, blocks=0), "`blocks` must be at least 1, but is 0"),
        (lambda: UNet(1, patch=0), "`patch` must be at least 1, but is 0"),
        (lambda: UNet(1, widths=()), r"`widths` must hold at least one positive width, but is \(\)"),
        (lambda: UNet(1, widths=(8, 0)), r"`widths` must hold at least one positive width, but is \(8, 0\)"),
        (lambda: UNet(1, attention=(2,)), r"`attention` names levels from 0 to 1, but is \(2,\)"),
        (lambda: UNet(1, dropout=1.0), r"`dropout` must lie in \[0, 1\), but is 1.0"),
        (lambda: UNet(1, classes=-1), "`classes` must be 0"),
        (lambda: UNet(1, blocks=(1, 2, 3)), "`blocks` has 3 numbers for 2 levels"),
        (lambda: UNet(1, blocks=(1, 0)), "`blocks` must be at least 1, but is 0"),
        (lambda: UNet(1, layout="ddpm", merge="add"), "`layout` 'ddpm' concatenates its skips"),
        (lambda: UNet(1, merge="sum"), "`merge` 'sum' is not one of concatenate, add"),
        (lambda: UNet(1, embedding=0), "`width` of the conditioning must be at least 1, but is 0"),
        (lambda: Sinusoids(5), "`width` of the sinusoids must be even and at least 4, but is 5"),
        (lambda: MLP((0,)), r"`shape` must hold sizes of at least 1, but is \(0,\)"),
        (lambda: MLP((2,), width=0), "`width` and `depth` must be at least 1, but are 0 and 3"),
        (lambda: MLP((2,), depth=0), "`width` and `depth` must be at least 1, but are 128 and 0"),
        (lambda: Classifier(1, 1), "`classes` at least 2, but are 1, 32 and 1"),
        (lambda: unet()(X[:, :, 0], LEVEL), r"`x` must have shape \(B, 1, any, any\), but has \(2, 1, 8\)"),
        (lambda: unet(3)(X, LEVEL), r"`x` must have shape \(B, 3, any, any\), but has \(2, 1, 8, 8\)"),
        (lambda: unet()(X[..., :0], LEVEL), r"but has \(2, 1, 8, 0\)"),
        (lambda: mlp()(X, LEVEL), r"`x` must have shape \(B, 1, 4, 6\), but has \(2, 1, 8, 8\)"),
        (lambda: unet()(X, LEVEL[:1]), r"`level` must have shape \(2,\) to match `x`, but has \(1,\)"),
        (lambda: unet()(X, LEVEL[0]), r"`level` must have shape \(2,\) to match `x`, but has \(\)"),
        (lambda: unet()(X, LEVEL, torch.tensor([0, 3])), r"`cond` must lie in \[-1, 3\), but spans 0 to 3"),
        (lambda: unet()(X, LEVEL, torch.tensor([-2, 0])), r"`cond` must lie in \[-1, 3\), but spans -2 to 0"),
        (lambda: unet()(X, LEVEL, torch.tensor([0])), r"`cond` must be int64 of shape \(2,\)"),
        (
            lambda: unet()(X, LEVEL, torch.zeros(2)),
            r"`cond` must be int64 of shape \(2,\), but is torch.float",
        ),
        (lambda: unet(classes=0)(X, LEVEL, torch.tensor([0, 0])), "built with `classes` = 0; pass None"),
        (lambda: Conditioning(8)(torch.zeros(2, 1)), r"`level` must have shape \(B,\), but has \(2, 1\)"),
        (lambda: Classifier(1, 2)(X[..., :7]), r"`x` must have shape \(B, 1, H, W\) with H, W of at least 8"),
        (lambda: Classifier(3, 2)(X), r"`x` must have shape \(B, 3, H, W\)"),
        (lambda: Classifier(1, 2)(X[0]), r"but has \(1, 8, 8\)"),
    ],
)
def test_errors_say_what_and_where(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 7), (2, 31), (1, 5, 7, 6)])
@pytest.mark.parametrize("blocks", [2, (1, 3), (1, 2, 3)])
def test_a_way_up_that_adds_its_skips(shape: tuple[int, ...], blocks: int | tuple[int, ...]) -> None:
    """As many blocks as asked for, on levels of any width; the skip is added as it is, so the way up widens nothing."""
    levels = 2 if isinstance(blocks, int) else len(blocks)
    torch.manual_seed(0)
    net = UNet(shape[0], (8, 16, 12)[:levels], blocks, (1,), patch=2, classes=3, rank=len(shape) - 1, merge="add")
    count = (blocks,) * levels if isinstance(blocks, int) else blocks
    assert [len(stage) for stage in UNet(1, (8, 8, 8), (1, 2)).down] == [1, 2, 2]
    assert tuple(map(len, net.down)) == count and tuple(map(len, net.up)) == count[:-1]
    assert all(stage[0].conv1.in_channels == stage[0].conv1.out_channels for stage in net.up)
    torch.nn.init.normal_(net.head.weight)
    x, level, cond = batch(2, shape)
    out = net(x, level, cond)
    assert out.shape == x.shape and out.isfinite().all()
    skips: list[torch.Tensor] = []
    net.up[0].register_forward_pre_hook(lambda part, given: skips.append(given[0]))
    net.down[0].register_forward_hook(lambda part, given, found: skips.append(found))
    net.back[0].register_forward_hook(lambda part, given, found: torch.zeros_like(found))
    net(x, level, cond)
    torch.testing.assert_close(skips[1], skips[0] * 0.5**0.5)


# --- sequences and volumes


@pytest.mark.parametrize("shape", [(1, 1), (2, 31), (3, 1, 1, 1), (1, 5, 7, 6), (2, 8, 3, 9)])
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("injection", ["adaptive", "instance", "channels"])
def test_unet_of_any_rank(shape: tuple[int, ...], patch: int, injection: str) -> None:
    x, level, cond = batch(2, shape)
    net = unet(shape[0], patch=patch, rank=len(shape) - 1, attention=(1,), sequence=4, injection=injection)
    out = net(x, level, cond)
    assert out.shape == x.shape
    assert out.isfinite().all() and (out != 0).all()


@pytest.mark.parametrize(("rank", "axis"), [(1, 3), (3, 2)])
def test_ranks_agree_where_an_axis_has_length_one(rank: int, axis: int) -> None:
    """There a convolution sees its middle row only: picture and sequence, volume and picture, are then the same network."""
    options = {"widths": (8, 8, 16), "attention": (2,), "sequence": 4}
    large, small = sorted((rank, 2), reverse=True)
    wide, flat = unet(2, rank=large, **options), unet(2, rank=small, **options)
    with torch.no_grad():
        for theirs, ours in zip(wide.parameters(), flat.parameters(), strict=True):
            if theirs.ndim != ours.ndim:
                theirs = theirs.select(axis, theirs.shape[axis] // 2)
            ours.copy_(theirs)
    x, level, cond = batch(2, (2, *[7, 9][:small]))
    there = wide(x.unsqueeze(axis), level, cond).squeeze(axis)
    assert (there - flat(x, level, cond)).abs().max() < 1e-5 * there.abs().max()


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_folding_is_pixel_unshuffle_and_has_an_inverse(patch: int) -> None:
    x = torch.randn(2, 3, 6, 12)
    assert torch.equal(fold(x, patch), nn.functional.pixel_unshuffle(x, patch))
    for y in (torch.randn(2, 3, 6), x, torch.randn(2, 3, 6, 12, 18)):
        assert torch.equal(unfold(fold(y, patch), patch), y)


def test_wrong_rank() -> None:
    with pytest.raises(ValueError, match="`rank` must be 1, 2 or 3, but is 4"):
        UNet(1, rank=4)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("tokens", [9, 64, 65, 300])  # written out below a limit, torch's own kernel above
def test_attention_is_attention(tokens, dtype, tolerance):
    q, k, v = ud.Noise(range(6)).normal((6, 2, tokens, 16)).to(dtype).chunk(3)
    wanted = ((q.double() @ k.double().mT) / 4).softmax(-1) @ v.double()
    torch.testing.assert_close(attend(q, k, v).double(), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_doubling_is_nearest_interpolation(rank):
    x = ud.Noise(range(2)).normal((2, 3, *[4, 5, 2][:rank])).requires_grad_()
    wanted = nn.functional.interpolate(x, scale_factor=2)
    assert torch.equal(double(x), wanted)
    slope = ud.Noise(range(2)).fold("slope").normal(wanted)
    ours, theirs = (torch.autograd.grad(y, x, slope)[0] for y in (double(x), wanted))
    torch.testing.assert_close(ours, theirs)
