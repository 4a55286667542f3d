"""Captions say what is in the picture; words become numbers and back."""

import numpy as np
import pytest
import torch

from undrift.condition import Condition
from undrift.data import captions, digits, load_split
from undrift.data.captions import Place, caption, layout, withheld
from undrift.data.words import Vocabulary, split_words
from undrift.error import DataError


@pytest.fixture(scope="module")
def parts():
    return load_split("captions", n=2000)


def test_both_digits_are_where_the_caption_says(parts):
    """Every crop is one of the real digits of its class, from the right part of the split; nothing else is on the canvas."""
    for part, source in zip(parts, digits().split(0.2, 0), strict=True):
        known = {image.numpy().tobytes(): label for image, label in zip(source.raw(), source.labels, strict=True)}
        for image, text in zip(part.raw()[:300].numpy(), part.texts[:300], strict=True):
            rest = image.copy()
            for place in layout(text):
                crop = np.s_[:, place.row : place.row + 8, place.column : place.column + 8]
                assert known[np.ascontiguousarray(image[crop]).tobytes()] == place.digit
                rest[crop] = 0
            assert not rest.any()


def test_layouts_of_the_three_relations():
    assert layout("a three next to a seven") == (Place(3, 4, 0), Place(7, 4, 8))
    assert layout("A three above an EIGHT.") == (Place(3, 0, 4), Place(8, 8, 4))
    assert layout("an eight below a zero") == (Place(8, 8, 4), Place(0, 0, 4))
    assert caption(8, 0, "below") == "an eight below a zero"
    for text in ("a three", "a three over a seven", "a dog next to a seven", ""):
        with pytest.raises(DataError, match="is not a caption of two digits"):
            layout(text)


def test_ten_pairs_are_kept_for_the_test(parts):
    train, test = ([tuple(place.digit for place in layout(text)) for text in part.texts] for part in parts)
    assert len(train) == 2000 and len(test) == 400
    assert not any(withheld(*pair) for pair in train) and withheld(3, 7) and withheld(8, 2)
    assert set(train) == {(a, b) for a in range(10) for b in range(10) if not withheld(a, b)}
    assert 0.04 < sum(withheld(*pair) for pair in test) / 400 < 0.18


def test_the_same_seed_gives_the_same_pictures_and_a_prefix(parts):
    again, fewer, other = captions(n=2000), captions(n=50), captions(n=50, seed=1)
    assert again.content_hash() == parts[0].content_hash()
    assert torch.equal(fewer.raw(), again.raw()[:50]) and fewer.texts == again.texts[:50]
    assert fewer.texts != other.texts
    assert fewer.content_hash() != again.content_hash()


def test_the_hash_sees_the_captions():
    a, b = captions(n=20), captions(n=20)
    b.texts = b.texts[::-1]
    assert a.content_hash() != b.content_hash()


def test_conditions_are_the_words_of_the_rows(parts):
    train, _ = parts
    rows = torch.tensor([5, 0, 5])
    told = train.condition(rows)
    assert isinstance(told, Condition) and train.batch(rows)[1] is None
    assert train.vocabulary.texts(told.sequence, told.mask) == [train.texts[i] for i in rows.tolist()]
    one, _ = train.split(0.5, 0)
    told = one.condition(torch.arange(4))
    assert train.vocabulary.texts(told.sequence, told.mask) == one.texts[:4]
    assert digits().condition(torch.tensor([0, 1])).tolist() == digits().labels[:2].tolist()


def test_vocabulary():
    known = Vocabulary.of(["A cat.", "the (big) cat"])
    assert known == Vocabulary(("a", "big", "cat", "the"), 3)
    told = known.condition(["THE cat!", ""])
    assert told.sequence[0, :2].tolist() == [3, 2] and told.mask.tolist() == [[True, True, False], [False] * 3]
    assert split_words(" a  b, c ") == ["a", "b", "c"]


@pytest.mark.parametrize(("text", "message"), [
    ("a cit", '"a cit": the word "cit" is unknown — did you mean "cat"'),
    ("xylophone", 'the word "xylophone" is unknown — known: a, big, cat, the'),
    ("a cat a cat", '"a cat a cat" has 4 words; this model reads at most 3'),
])  # fmt: skip
def test_what_cannot_be_read(text, message):
    with pytest.raises(DataError) as caught:
        Vocabulary.of(["A cat.", "the (big) cat"]).condition([text])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_errors_of_the_loader():
    with pytest.raises(DataError, match='split "tset" is unknown — did you mean "test"'):
        captions("tset")
    with pytest.raises(DataError, match="n=2; ask for at least 5"):
        captions(n=2)
