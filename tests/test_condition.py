"""Conditions: cut, joined, dropped and moved without a change of what they say; and what samplers and guidance do with them."""

import pytest
import torch
from torch import nn

import undrift as ud
from conftest import mixture
from undrift.condition import (
    Condition,
    as_condition,
    cat,
    drop,
    for_samples,
    informed,
    joinable,
    labels_of,
    null_like,
    repeat,
    rows,
)
from undrift.nn import MLP, UNet

G = torch.Generator().manual_seed(0)


def full(n=6, length=3):
    """A condition with every part, no two rows alike."""
    return Condition(
        torch.arange(n) % 3,
        torch.randn(n, 2, generator=G),
        torch.randn(n, 1, 4, 4, generator=G),
        torch.randn(n, length, 5, generator=G),
        torch.arange(length) < 1 + torch.arange(n)[:, None] % length,
    )


def same(a, b):
    assert a.parts().keys() == b.parts().keys()
    for name, part in a.parts().items():
        torch.testing.assert_close(part, b.parts()[name], equal_nan=True, rtol=0, atol=0)


def test_rows_of_a_whole_are_the_parts_of_a_whole():
    c = full()
    same(cat([c.rows(slice(0, 2)), c.rows(torch.tensor([2, 3])), c.rows(slice(4, 6))]), c)
    assert len(c) == 6 and len(c.rows(slice(1, 3))) == 2 and len(Condition()) == 0
    same(repeat(c.rows(slice(2, 3)), 4), c.rows(torch.tensor([2, 2, 2, 2])))
    assert repeat(7, 3).tolist() == [7, 7, 7] and repeat(None, 3) is None
    labels = torch.arange(5)
    assert rows(labels, slice(1, 3)).tolist() == [1, 2] and rows(None, slice(1, 3)) is None


def test_what_one_lacks_is_null_in_the_joined():
    c = full()
    a, b = Condition(label=c.label), Condition(vector=c.vector[:2], sequence=c.sequence[:2, :2])
    joined = cat([a, None, b])
    assert len(joined) == 14
    assert joined.label.tolist() == c.label.tolist() + [-1] * 8
    assert joined.vector[:12].isnan().all() and torch.equal(joined.vector[12:], c.vector[:2])
    assert not joined.mask[:12].any() and joined.mask[12:].all()
    longer = cat([b, Condition(sequence=c.sequence)])
    assert longer.sequence.shape == (8, 3, 5) and longer.mask[0].tolist() == [True, True, False]
    assert cat([torch.tensor([1, 2]), None]).tolist() == [1, 2, -1, -1]
    assert cat([torch.tensor([1]), Condition(label=torch.tensor([0]))]).label.tolist() == [1, 0]
    assert cat([None, None]) is None


def test_what_can_be_joined():
    c = full()
    assert joinable([c, None, torch.arange(6)], 6)
    assert not joinable([c], 5)
    assert not joinable([torch.zeros(6)], 6)
    assert not joinable([torch.zeros(6, 2, dtype=torch.int64)], 6)


def test_drop_replaces_whole_rows_at_the_rate_and_by_address():
    """A rate of 30 % over 4,000 rows, 5 standard errors: false alarm 6e-7."""
    c, noise = full(4000), ud.Noise(range(4000)).fold("test")
    dropped = drop(c, 0.3, noise)
    lost = dropped.label == -1
    assert abs(lost.double().mean() - 0.3) < 5 * (0.21 / 4000) ** 0.5
    same(dropped.rows(lost), null_like(c.rows(lost)))
    same(dropped.rows(~lost), c.rows(~lost))
    same(drop(c.rows(slice(10, 20)), 0.3, noise[10:20]), dropped.rows(slice(10, 20)))
    assert torch.equal(drop(c.label, 0.3, noise), dropped.label)  # labels alone: the same samples
    assert drop(None, 0.3, noise) is None


def test_who_knows_anything_is_who_was_not_dropped():
    c, noise = full(400), ud.Noise(range(400)).fold("test")
    dropped = drop(c, 0.3, noise)
    kept = dropped.label >= 0
    assert torch.equal(informed(dropped, 400), kept) and torch.equal(informed(dropped.label, 400), kept)
    for name in ("label", "vector", "image"):  # each part by itself
        assert torch.equal(informed(Condition(**{name: dropped.parts()[name]}), 400), kept)
    words = Condition(sequence=dropped.sequence, mask=dropped.mask)
    assert torch.equal(informed(words, 400), kept)
    one = drop(c, {"label": 0.9, "vector": 0.9, "image": 0.9, "sequence": 0.9}, noise)  # one part of four is enough
    left = (one.label >= 0) | ~one.vector.isnan().any(1) | ~one.image.isnan().flatten(1).any(1) | one.mask.any(1)
    assert torch.equal(informed(one, 400), left) and 0.2 < left.double().mean() < 0.5
    assert not informed(None, 3).any() and not informed(Condition(), 3).any()


def test_parts_are_dropped_independently():
    """Rates 20 % and 50 %, both lost in 10 %: 5 standard errors over 4,000 rows."""
    c, noise = full(4000), ud.Noise(range(4000)).fold("test")
    dropped = drop(c, {"label": 0.2, "sequence": 0.5}, noise)
    one, other = dropped.label == -1, ~dropped.mask.any(1)
    for found, rate in ((one, 0.2), (other, 0.5), (one & other, 0.1)):
        assert abs(found.double().mean() - rate) < 5 * (rate * (1 - rate) / 4000) ** 0.5
    assert torch.equal(dropped.vector, c.vector) and torch.equal(dropped.mask[~other], c.mask[~other])


def test_moving_moves_every_part():
    c = full().to("meta")
    assert all(part.device.type == "meta" for part in c.parts().values())
    assert for_samples(full(), 6, "meta").label.device.type == "meta"
    assert for_samples(3, 4).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Condition(label=torch.zeros(2)), r"`label` must be int64 of shape \(B,\), got torch.float32 \(2,\)"),
    (lambda: Condition(vector=torch.zeros(2)), r"`vector` must be floats of shape \(B, K\)"),
    (lambda: Condition(image=torch.zeros(2, 4, 4)), r"`image` must be floats of shape \(B, C, H, W\)"),
    (lambda: Condition(sequence=torch.zeros(2, 4)), r"`sequence` must be floats or int64 of shape"),
    (lambda: Condition(mask=torch.ones(2, 4).bool()), "`mask` must be"),
    (lambda: Condition(sequence=torch.zeros(2, 4, 1), mask=torch.ones(2, 3).bool()), "`mask` must be"),
    (lambda: Condition(torch.zeros(2).long(), torch.zeros(3, 1)), "different numbers of rows"),
    (lambda: for_samples(full(), 5), "`cond` has 6 rows for 5 samples"),
    (lambda: null_like(torch.zeros(3, 2)), "has no null; say what it is"),
    (lambda: labels_of(full()), "knows classes only, but the condition has a part image"),
])  # fmt: skip
def test_errors_say_what_and_where(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def network(seed=0):
    torch.manual_seed(seed)
    net = UNet(1, (8, 8), 1, attention=(1,), classes=3, embedding=16, vector=2, image=1, sequence=5)
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    return ud.Denoiser(net, ud.Rectified(), shape=(1, 4, 4)).eval()


def test_guidance_asks_both_branches_in_one_call_whatever_the_condition():
    d, c, x = network(), full(), torch.randn(6, 1, 4, 4, generator=G)
    calls, inner = [], d.net.forward
    d.net.forward = lambda x, level, cond: calls.append(len(x)) or inner(x, level, cond)
    guided = ud.Mix(d, d.given(None), 2.5)(x, 0.6, c)
    assert calls == [12]
    strong, weak = d(x, 0.6, c), d(x, 0.6, None)
    assert (strong.data - weak.data).abs().amax((1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(guided.data, weak.data + 2.5 * (strong.data - weak.data), rtol=1e-4, atol=1e-4)
    calls.clear()
    # A negative condition: away from a class, towards everything that is known.
    away = ud.Mix(d, d.given(Condition(label=torch.full((6,), 2))), 2.0)(x, 0.6, c)
    assert calls == [12]
    other = d(x, 0.6, torch.full((6,), 2))
    torch.testing.assert_close(away.data, 2 * strong.data - other.data, rtol=1e-4, atol=1e-4)


def test_guidance_without_any_condition_is_the_denoiser():
    plain = ud.Denoiser(MLP((2,), 8, 1), ud.VP())
    x = torch.randn(4, 2, generator=G)
    torch.testing.assert_close(ud.Mix(plain, plain.given(None), 3.0)(x, 0.5).data, plain(x, 0.5).data)


def test_samples_know_their_own_row_in_any_batch():
    d, c = network(), full()
    whole = ud.sample(d, 6, steps=3, cond=c)
    torch.testing.assert_close(ud.sample(d, 6, steps=3, cond=c, batch_size=4), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ud.sample(d, 1, steps=3, cond=c.rows(slice(4, 5)), first=4), whole[4:5], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ud.sample(d, 6, steps=3), whole, atol=1e-3)


def test_exact_laws_take_the_label_of_a_condition():
    law, x, y = mixture(ud.VP()), torch.randn(5, 2, dtype=torch.float64, generator=G), torch.tensor([0, 1, -1, 1, 0])
    torch.testing.assert_close(law(x, 0.4, Condition(label=y)).data, law(x, 0.4, y).data)
    known = Condition(label=y)
    a, b = (ud.log_likelihood(law, x, cond=c, steps=8, batch_size=n).value for c, n in ((known, 2), (y, 5)))
    torch.testing.assert_close(a, b)
    a, b = (ud.variational_bound(law, x[:3], cond=c, points=2).value for c in (1, Condition(label=torch.tensor([1, 1, 1]))))
    torch.testing.assert_close(a, b)
    path = ud.interpolate(law, x, x.flip(0), 3, cond=known, cond_b=Condition(label=y.flip(0)), steps=8)
    torch.testing.assert_close(path, ud.interpolate(law, x, x.flip(0), 3, cond=y, cond_b=y.flip(0), steps=8))
    assert as_condition(y).label is y
