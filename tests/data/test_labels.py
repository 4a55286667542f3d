"""labels.csv as people write it: any separator, any heading, names in any form; and classes in one order everywhere."""

import itertools
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, strategies as st

from undrift.data.labels import by_table, numbered
from undrift.error import DataError

NAMES = ["a/0.png", "a/1.png", "b/2.png", "b/3.png"]
WANTED = ["cat", "dog", "cat", "dog"]


def read(folder, text, names=NAMES, **options):
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return by_table(path, names, **options)


def lines(separator, heading=None, quote=False, files=NAMES):
    rows = [heading] if heading else []
    rows += [(f'"{f}"' if quote else f, label) for f, label in zip(files, WANTED, strict=True)]
    return "".join(separator.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "heading", [None, ("file", "label"), ("image_id", "diagnosis"), ("id", "what it is"), ("Picture", "Kind")]
)
@pytest.mark.parametrize("quote", [False, True])
def test_separators_and_headings(tmp_path, separator, heading, quote):
    found = read(tmp_path, lines(separator, heading, quote))
    assert (found.labels, found.problems) == (WANTED, [])


@pytest.mark.parametrize("text", [
    '"a, 0.png";cat\n"b, 1.png";dog\n',  # a comma in a name, no heading
    '"a, 0.png"\tcat\n"b, 1.png"\tdog\n',
    '\n\nfile,label\n"a, 0.png",cat\n"b, 1.png",dog\n',  # blank lines first
    "\ufefffile;label\n\"a, 0.png\";cat\n\"b, 1.png\";dog\n",
    'file,label\r\n"a, 0.png",cat\r\n"b, 1.png",dog\r\n',
    'label,file\ncat,"a, 0.png"\ndog,"b, 1.png"\n',  # the other way round
    'cat;"a, 0.png"\ndog;"b, 1.png"\n',
], ids=range(7))  # fmt: skip
def test_a_name_with_a_comma(tmp_path, text):
    found = read(tmp_path, text, ["a, 0.png", "b, 1.png"])
    assert (found.labels, found.problems) == (["cat", "dog"], [])


def test_a_label_with_a_comma_and_a_decimal_one(tmp_path):
    found = read(tmp_path, "a0.png;0,5\na1.png;0,7\n", ["a0.png", "a1.png"])
    assert (found.labels, found.problems) == (["0,5", "0,7"], [])
    names = [f"{i}.png" for i in range(8)]  # the digits behind the comma are names of pictures too
    found = read(tmp_path, "".join(f"{i}.png;0,{i % 2}\n" for i in range(8)), names)
    assert (found.labels, found.problems) == ([f"0,{i % 2}" for i in range(8)], [])
    found = read(tmp_path, "".join(f"{i % 3},{i}\n" for i in range(8)), names)
    assert (found.labels, found.problems) == ([str(i % 3) for i in range(8)], [])


def test_which_of_several_columns_is_the_class_is_asked_and_not_guessed(tmp_path):
    """Taken for the class, ages would be one: `--skip-bad` went on with them."""
    text = "image_id,age,diagnosis\n" + "".join(
        f"{n},{30 + i},{label}\n" for i, (n, label) in enumerate(zip(NAMES, WANTED, strict=True))
    )
    with pytest.raises(
        DataError, match=r"has columns image_id, age, diagnosis; say which holds the class: data\.label_column=NAME"
    ):
        read(tmp_path, text)
    assert read(tmp_path, text, label_column="diagnosis").labels == WANTED
    assert read(tmp_path, text, label_column="Age").labels == ["30", "31", "32", "33"]
    with pytest.raises(DataError, match=r'data\.label_column "sex" is not one of its columns; it has image_id, age, diagnosis'):
        read(tmp_path, text, label_column="sex")
    with pytest.raises(DataError, match="has 3 columns and no heading"):
        read(tmp_path, text.partition("\n")[2])
    assert read(tmp_path, text.replace("diagnosis", "class")).labels == WANTED  # a name that says it


@pytest.mark.parametrize("change", [
    lambda n: n, lambda n: n.rpartition("/")[2], lambda n: n.removesuffix(".png"), lambda n: n.upper(), lambda n: "/data/my pictures/" + n,
    lambda n: "C:\\data\\" + n.replace("/", "\\"), lambda n: "./" + n, lambda n: unicodedata.normalize("NFD", n),
])  # fmt: skip
def test_a_picture_by_any_name_that_is_clear(tmp_path, change):
    names = [n.replace("a/", "ä/").replace("2", "é2") for n in NAMES]
    found = read(tmp_path, lines(",", files=list(map(change, names))), names)
    assert (found.labels, found.problems) == (WANTED, [])


def test_a_name_that_is_not_there_is_answered_with_the_nearest(tmp_path):
    found = read(tmp_path, "a/O.png,cat\na/1.png,dog\nb/2.png,cat\nb/3.png,dog\n")
    assert any('"a/O.png" is not in the folder; did you mean a/' in str(p) for p in found.problems)
    apart = read(tmp_path, "x.png,cat\nX.png,dog\n", ["x.png", "X.png"])  # capitals tell two files apart
    assert (apart.labels, apart.problems) == (["cat", "dog"], [])


def test_a_name_forges_no_line(tmp_path):
    found = read(tmp_path, '"a\nundrift: all is well.png",cat\n"b\x1b[2J.png",dog\n', ["a.png"])
    for problem in found.problems:
        assert "\n" not in str(problem) and "\x1b" not in str(problem)


@given(st.data())
def test_every_dialect(tmp_path_factory, data):
    """Names and classes of any letters, in any order of columns and with any separator, come back as they were."""
    word = st.text(st.characters(categories=("L", "Nd", "Pd", "Zs"), exclude_characters="\x85"), min_size=1, max_size=8)
    word = word.map(str.strip).filter(bool)
    stems = data.draw(st.lists(word, min_size=3, max_size=6, unique_by=lambda w: unicodedata.normalize("NFC", w).casefold()))
    labels = [data.draw(st.sampled_from(["yes", "no", "may,be"])) for _ in stems]
    separator, swapped, heading = data.draw(st.sampled_from(",;\t|")), data.draw(st.booleans()), data.draw(st.booleans())
    names = [f"{stem}.png" for stem in stems]
    rows = [("file", "label")] * heading + [(f'"{n}"', f'"{label}"') for n, label in zip(names, labels, strict=True)]
    text = "".join(separator.join(row[::-1] if swapped else row) + "\n" for row in rows)
    found = read(tmp_path_factory.mktemp("dialect"), text, names)
    assert (found.labels, found.problems) == (labels, [])


def test_what_is_no_table(tmp_path):
    for text, message in (
        (b"", "has no lines"),
        (b"\n\n", "has no lines"),
        (b"\xff\xfe\0", "not text in UTF-8"),
        (b"file,label\n", "has no lines"),
    ):
        with pytest.raises(DataError, match=message):
            read(tmp_path, text)


# --- the order of classes


def test_classes_whose_numbers_are_equal_have_one_order():
    labels = ["001", "2", "01", "1", "10", "b9", "b10", "B9", "9" * 5000, "9" * 5001]
    wanted = ["1", "01", "001", "2", "10", "9" * 5000, "9" * 5001, "B9", "b9", "b10"]
    for order in itertools.islice(itertools.permutations(labels), 0, 5000, 97):
        assert numbered(list(order), [""] * len(order), None, 100, "")[1] == tuple(wanted)


def test_classes_do_not_depend_on_the_process():
    """The order of a set does, from one PYTHONHASHSEED to the next."""
    code = "from undrift.data.labels import numbered; print(numbered(['1', '01', '001', '2'], [''] * 4, None, 9, '')[1])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": str(i), "PYTHONPATH": ":".join(sys.path)},
            check=True,
        ).stdout
        for i in range(4)
    }
    assert found == {"('1', '01', '001', '2')\n"}


def test_more_cells_than_the_heading_are_not_cut_off(tmp_path):
    with pytest.raises(DataError, match=r"labels.csv line 2: has 3 cells, but the heading has 2; .* in double quotes"):
        read(tmp_path, "file,label\na/0.png,cat, red\na/1.png,cat, red\nb/2.png,dog\nb/3.png,dog\n")
    found = read(tmp_path, 'file,label\na/0.png,"cat, red",\na/1.png,"cat, red"\nb/2.png,dog,,\nb/3.png,dog\n')
    assert (found.labels, found.problems) == (["cat, red", "cat, red", "dog", "dog"], [])


def test_a_class_that_no_one_could_type_is_named_with_its_table(tmp_path):
    found = read(tmp_path, 'file,label\na/0.png,"x\nz"\na/1.png,y\nb/2.png,y\nb/3.png,y\n')
    with pytest.raises(DataError, match=r'labels.csv: the class "x\\nz" has control characters'):
        numbered(found.labels, NAMES, None, 1000, "labels.csv")
    with pytest.raises(DataError, match="bytes that are no text"):
        numbered(["a\udcff", "b"], NAMES[:2], None, 1000, "folder")
