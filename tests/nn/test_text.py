"""The text encoder: what a word is, where it stands and what is around it; padding is silent."""

import pytest
import torch

from undrift.condition import Condition, null_like
from undrift.nn import Reader, TextEncoder, UNet


def awake(net):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.4)
    return net.eval()


WORDS = torch.tensor([[1, 2, 3, 0], [3, 2, 1, 4]])
MASK = torch.tensor([[True, True, True, False], [True, True, True, True]])


def test_words_places_and_neighbours_matter():
    encode = awake(TextEncoder(6, 5, 16))
    out = encode(WORDS, MASK)
    assert out.shape == (2, 4, 16)
    for column, place in ((0, 1), (0, 0), (3, 1)):  # a changed word changes itself and what stands elsewhere
        changed = WORDS.clone()
        changed[1, column] = 5
        assert (encode(changed, MASK)[1, place] - out[1, place]).abs().max() > 1e-3
    swapped = encode(WORDS.flip(1), MASK.flip(1))[1].flip(0)
    assert (swapped - out[1]).abs().amax(1).min() > 1e-3  # the same words, another order


def test_masked_words_are_silent_and_rows_are_alone():
    encode = awake(TextEncoder(6, 5, 16))
    out, changed = encode(WORDS, MASK), WORDS.clone()
    changed[0, 3] = 5
    torch.testing.assert_close(encode(changed, MASK)[0, :3], out[0, :3])
    torch.testing.assert_close(encode(WORDS[:1, :3], MASK[:1, :3])[0], out[0, :3])
    assert encode(WORDS, torch.zeros_like(MASK)).isfinite().all()


def test_encoder_and_network_are_one():
    """Gradients reach the words that were used and no others; no text is the null text."""
    torch.manual_seed(0)
    net = awake(Reader(UNet(1, (8, 8), 1, attention=(1,), embedding=16, sequence=16), TextEncoder(6, 5, 16)))
    x, level, cond = torch.randn(2, 1, 6, 6), torch.zeros(2), Condition(sequence=WORDS, mask=MASK)
    out = net(x, level, cond)
    assert (out - net(x, level, None)).abs().amax((1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(net(x, level, null_like(cond)), net(x, level))
    out.square().sum().backward()
    assert net.encoder.words.weight.grad.any(1).tolist() == [False, True, True, True, True, False]
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.any(), name


def test_errors_say_what_and_where():
    encode = TextEncoder(6, 3, 16)
    with pytest.raises(ValueError, match="the text has 4 words, this encoder reads at most 3"):
        encode(WORDS, MASK)
    with pytest.raises(ValueError, match="must be at least 1, but are 0, 3 and 64"):
        TextEncoder(0, 3)
    net = Reader(UNet(1, (8,), 1, attention=(0,), sequence=16), encode)
    for cond in (torch.zeros(2, dtype=torch.int64), Condition(sequence=torch.zeros(2, 3, 16))):
        with pytest.raises(ValueError, match="this network reads words"):
            net(torch.zeros(2, 1, 4, 4), torch.zeros(2), cond)
