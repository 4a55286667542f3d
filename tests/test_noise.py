"""Addressed randomness: the published test vectors, the law, and independence from the batch."""

import hashlib

import numpy as np
import pytest
import torch

from undrift import philox as generator
from undrift.noise import Noise
from undrift.philox import philox

KNOWN = [  # Random123's known-answer tests for philox4x32-10: counter, key, words
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_known_answers(counter, key, words):
    assert tuple(int(word) for word in philox(torch.tensor(counter), key)) == words


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 28, 28), (2,), (), (3, 5, 7)])
def test_a_sample_is_the_same_in_any_batch(shape, dtype):
    noise = Noise(range(64)).fold("x", 3)
    for draw in ("normal", "uniform"):
        whole = getattr(noise, draw)(torch.empty(64, *shape, dtype=dtype))
        for size in (1, 7, 64):
            parts = [
                getattr(noise[i : i + size], draw)(torch.empty(min(size, 64 - i), *shape, dtype=dtype))
                for i in range(0, 64, size)
            ]
            assert torch.equal(torch.cat(parts), whole)
        order = torch.randperm(64)
        assert torch.equal(getattr(noise[order], draw)(whole), whole[order])


def test_normals_are_normal():
    z = Noise(range(500)).fold("law").normal((500, 800)).double().flatten()
    n = len(z)
    moments = [z.mean(), (z**2).mean() - 1, (z**3).mean(), (z**4).mean() - 3]
    for value, variance in zip(moments, (1, 2, 15, 96), strict=True):
        assert abs(value) < 5 * (variance / n) ** 0.5  # 5 standard errors each: false alarm 2e-6 in all
    gap = (torch.special.ndtr(z.sort().values) - (torch.arange(n) + 0.5) / n).abs().max()
    assert gap < 2.5 / n**0.5  # Kolmogorov: false alarm 7e-6


def test_addresses_are_independent():
    noise = Noise(range(200_000))
    base = noise.fold("a").normal((200_000, 2))
    others = [noise.fold("b").normal((200_000, 2)), noise.fold("a", 0).normal((200_000, 2)), base.roll(1, 0), base.flip(1)]
    for other in others:
        assert abs((base * other).mean()) < 5 / (2 * 200_000) ** 0.5 * 1.5


def test_float32_is_float64_to_its_own_precision():
    noise = Noise(range(2000))
    exact = noise.normal(torch.empty(2000, 500, dtype=torch.float64))
    gap = (noise.normal((2000, 500)) - exact).abs()
    assert gap.median() < 1e-7
    assert gap.max() < 2.0**-12  # a uniform is rounded by 2^-25, and the radius is its root where it is near 1


def test_seeds_above_32_bits_count():
    draws = [Noise([seed]).normal((1, 4)) for seed in (1, 1 + 2**31, 1 + 2**32, 1 + 2**62)]
    assert len({tuple(d[0].tolist()) for d in draws}) == 4
    counter = torch.tensor([0, 0, 1, 3])  # the words of a seed are its two halves
    key = hashlib.blake2b(repr(()).encode(), digest_size=8).digest()
    words = philox(counter, (int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little")))
    u = Noise([1 + 3 * 2**32]).uniform(torch.empty(1, 4, dtype=torch.float64))
    torch.testing.assert_close(u[0], (torch.stack(words).double() + 0.5) / 2**32)


def test_a_label_is_its_value_not_its_type():
    a, b = Noise([1]).fold("x", 3), Noise([1]).fold("x", np.int64(3))
    assert torch.equal(a.normal((1, 4)), b.normal((1, 4)))


def test_uniforms_stay_below_one_in_any_dtype():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert Noise(range(2000)).uniform(torch.empty(2000, 50, dtype=dtype)).max() < 1


def test_low_discrepancy_is_even_and_addressed():
    noise = Noise(range(1000, 1256)).fold("t")
    u = noise.low_discrepancy()
    gaps = u.sort().values.diff()
    assert gaps.max() < 3 / 256  # independent uniforms leave gaps of about log(256)/256
    assert torch.equal(noise[3:9].low_discrepancy(), u[3:9])
    shifts = torch.stack([noise.fold(k).low_discrepancy()[0] for k in range(400)])
    assert abs(shifts.mean() - 0.5) < 5 / (12 * 400) ** 0.5


def test_batch_mismatch_is_said():
    with pytest.raises(ValueError, match="2 addresses, but the batch has shape"):
        Noise([1, 2]).normal((3, 2))
    with pytest.raises(ValueError, match="non-negative"):
        Noise([-1])


def test_the_compiled_generator_gives_the_same_bits(monkeypatch):
    """On the CPU, where its launches are worth nothing, but its arithmetic is that of a GPU's."""
    monkeypatch.setattr(generator, "_fused", {})
    noise = Noise([0, 5, 2**40 + 1, 2**62]).fold("compiled", 3)
    wanted = [noise.normal((4, n)) for n in (7, 64)], noise.uniform((4, 9))
    monkeypatch.setattr(generator, "FUSED_ON", ("cpu",))
    found = [noise.normal((4, n)) for n in (7, 64)], noise.uniform((4, 9))
    assert list(generator._fused.values()) != [None], "it was compiled"
    assert all(torch.equal(a, b) for a, b in zip(wanted[0], found[0], strict=True)) and torch.equal(wanted[1], found[1])


def test_a_compiler_that_is_missing_or_wrong_is_done_without(monkeypatch):
    noise = Noise([1, 2]).fold("x")
    wanted = noise.normal((2, 5))
    monkeypatch.setattr(generator, "FUSED_ON", ("cpu",))

    def missing(function, **options):
        raise RuntimeError("no compiler")

    for compiled in (missing, lambda function, **options: lambda blocks, seeds, k0, k1: (blocks,) * 4):
        monkeypatch.setattr(generator, "_fused", {})
        monkeypatch.setattr(torch, "compile", compiled)
        assert torch.equal(noise.normal((2, 5)), wanted) and list(generator._fused.values()) == [None]
