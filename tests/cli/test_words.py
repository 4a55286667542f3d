"""What a newcomer types: names of classes, keys by the names of other libraries, commands without arguments."""

import numpy as np
import pytest
from PIL import Image

import undrift as ud
from conftest import refused, undrift
from undrift import argument
from undrift.cli import types
from undrift.cli.parser import build_parser, parse
from undrift.recipe.read import parse_overrides

SMALL = ("network.kind=mlp", "network.width=8", "network.depth=1", "sample_every=0", "device=cpu", "steps=2", "batch_size=8")
NAMES = ("1,2", "a, b", "all", "none", "cat", 'say "hi"', " space")


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run whose classes have every sort of name."""
    top = tmp_path_factory.mktemp("named")
    rng = np.random.default_rng(0)
    for name in NAMES:
        for i in range(6):
            path = top / "pictures" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(path)
    from undrift.cli import main

    words = ("train", "images", *SMALL, "data.size=4", f"data.cache={top / 'cache'}", "--data-dir", str(top / "pictures"))
    assert main([*words, "--out", str(top / "run")]) == 0
    return top / "run"


def asked(run, words, capsys, tmp_path):
    out = tmp_path / "x.npz"
    code, _, err = undrift("sample", run, "--class", words, "-n", 6, "--steps", 1, "--npz", out, capsys=capsys)
    if code:
        return err
    names = ud.load(run).spec.classes
    with np.load(out) as found:
        return [names[i] for i in found["labels"]]


@pytest.mark.parametrize(("words", "wanted"), [
    ("1,2", ["1,2"]), ('"1,2"', ["1,2"]), ("a, b", ["a, b"]), ("cat", ["cat"]), ('"1,2",cat', ["1,2", "cat"]), ('cat,"a, b"', ["cat", "a, b"]),
    ('"all"', ["all"]), ('"none"', ["none"]), ('say "hi"', ['say "hi"']), ('cat,"say ""hi"""', ["cat", 'say "hi"']),
])  # fmt: skip
def test_a_class_by_its_name(words, wanted, named, capsys, tmp_path):
    assert asked(named, words, capsys, tmp_path) == (wanted * 6)[:6]


@pytest.mark.parametrize(("words", "message"), [
    ("all", "also the word for every class in turn; write '\"all\"'"), ("none", "also the word for no class; write '\"none\"'"),
    ("dog", 'class "dog" is unknown'), ("9", 'is not in 0..6 — known: "1,2"'), ("", "name at least one"), ('"cat', "in double quotes"), ("cat,,cat", "none that is empty"),
])  # fmt: skip
def test_a_class_that_is_none_or_could_be_two_things(words, message, named, capsys, tmp_path):
    said = asked(named, words, capsys, tmp_path)
    assert isinstance(said, str) and message in said and said.count("\n") == 1


def test_names_are_listed_as_they_are_asked_for(named, capsys):
    spec = ud.load(named).spec
    assert spec.read_classes(", ".join(spec.named())) == list(range(7))
    assert undrift("info", named, capsys=capsys)[1].count('"1,2"') == 1


def test_without_a_class_a_model_draws_every_class_whatever_one_is_called(named, capsys, tmp_path):
    out = tmp_path / "x.npz"
    assert undrift("sample", named, "-n", 14, "--steps", 1, "--npz", out, capsys=capsys)[0] == 0
    with np.load(out) as found:
        assert sorted(found["labels"].tolist()) == sorted([*range(7)] * 2)


@pytest.mark.parametrize(("words", "message"), [
    (("epochs=10",), 'unknown key "epochs" — the length of a training is steps=... or minutes=...'),
    (("lr=0.1",), 'did you mean "learning_rate"?'),
    (("grad_clip=1",), 'did you mean "clip"?'),
    (("--steps", "2000"), 'keys of a recipe are written without dashes — did you mean "steps=2000"?'),
    (("--lr=0.1",), 'keys of a recipe are written without dashes — did you mean "learning_rate=0.1"?'),
    (("--num-epochs", "3"), "the length of a training is steps=... or minutes=..."),
    (("num_inference_steps=9",), 'did you mean "sampling.steps"?'),
    (("guidance_scale=3",), 'did you mean "sampling.scale"?'),
    (("batch=8",), 'did you mean "batch_size"?'),
    (("--batch", "8"), 'did you mean "batch_size=8"?'),
    (("--Fresh",), '"--Fresh" is not understood — did you mean "--fresh"?'),
    (("fresh=true",), 'options are written with dashes — did you mean "--fresh"?'),
    (("--strip", "x.png"), "--strip is an option of: sample"),
    (("network.width=8",), "add network.kind: "),
    (("steps",), "key=value"),
])  # fmt: skip
def test_keys_as_other_libraries_call_them(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = "array" if words[0].startswith("network") else "toy"
    refused(("train", recipe, *words, "--out", tmp_path / "run"), message, tmp_path, capsys)


@pytest.mark.parametrize(("words", "message"), [
    (("sample", "RUN", "steps=20"), 'options are written with dashes — did you mean "--steps 20"?'),
    (("sample", "RUN", "--num_inference_steps", "20"), 'did you mean "--steps 20"?'),
    (("sample", "RUN", "--guidance-scale=3"), 'did you mean "--scale 3"?'),
    (("sample", "RUN", "--labels", "a cat"), "did you mean \"--class 'a cat'\"?"),
    (("sample", "RUN", "--sedd", "3"), 'did you mean "--seed 3"?'),
    (("sample", "RUN", "--no-save"), "--no-save is an option of: frontier, ema"),
    (("sample", "RUN", "--learning-rate", "1"), "learning_rate is a key of a recipe: undrift train RECIPE learning_rate=..."),
    (("info", "RUN", "--stepz", "3"), "--steps is an option of: sample"),
    (("ema", "RUN", "--learning-rat", "3"), "learning_rate is a key of a recipe"),
    (("sample", "RUN", "--zzz"), '"--zzz" is not understood; see undrift sample --help'),
    (("evaluate", "RUN", "--num-samples", "10"), 'did you mean "-n 10"?'),
    (("evaluate", "RUN", "num_samples=10"), 'did you mean "-n 10"?'),
    (("evaluate", "RUN", "steps=20"), 'did you mean "--steps 20"?'),
    (("likelihood", "RUN", "n=20"), 'did you mean "-n 20"?'),
    (("train-classifier", "RUN", "--epochs", "3"), "the length of a training is --steps N or --minutes M"),
    (("info", "RUN", "--weights=raw"), "--weights is an option of: sample, evaluate"),
    (("--seed",), "--seed is an option of: sample"),
])  # fmt: skip
def test_options_as_other_libraries_call_them(words, message, tiny_run, tmp_path, capsys):
    refused([str(tiny_run) if word == "RUN" else word for word in words], message, tmp_path, capsys)


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(tiny_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n=20").write_text("")
    assert "n=20" in undrift("likelihood", tiny_run, "n=20", capsys=capsys)[2]
    assert "did you mean" not in undrift("likelihood", tiny_run, "n=20", capsys=capsys)[2]


def test_which_options_were_given():
    """Also one that is given its default, which is told from one that was left out."""
    left_out, given = parse(["sample", "runs/a"]), parse(["sample", "runs/a", "--seed", "0", "--strength", "1", "--clip"])
    assert left_out.given == {"run"} and given.given == {"run", "seed", "strength", "clip"}
    assert (left_out.seed, left_out.strength, left_out.clip, left_out.prompt) == (0, 1.0, False, None)
    assert parse(["sample", "runs/a", "--prompt", "a", "--prompt", "b"]).prompt == ["a", "b"]
    assert parse(["ema", "runs/a"]).save and not parse(["ema", "runs/a", "--no-save"]).save
    assert parse(["likelihood", "runs/a"]).data is None and parse(["demo"]).recipe == "digits"


def test_what_there_is_is_listed(capsys, tmp_path, monkeypatch, tiny_run):
    monkeypatch.chdir(tmp_path)
    code, out, _ = undrift(capsys=capsys)
    assert code == 0 and "train" in out and "usage: undrift" in out
    for words in ((), ("list",)):
        code, out, _ = undrift("train", *words, capsys=capsys)
        assert code == 0 and all(f"\n{name} " in f"\n{out}" for name in ("digits", "mnist", "toy", "images"))
    code, out, _ = undrift("train", "digits", "--help", capsys=capsys)
    assert code == 0 and all(
        f"  {key} " in out for key in ("steps", "learning_rate", "network.widths", "sampling.scale", "objective.times")
    )
    code, out, _ = undrift("train", tiny_run, "--help", capsys=capsys)
    assert code == 0 and "network.embedding" in out and not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", ["9" * 20, "9" * 5000, "1e3", "1.5", "-1", "nan", "", "٣", "0x10", "1_0"])
@pytest.mark.parametrize("option", ["-n", "--steps", "--seed"])
def test_numbers_that_are_none(number, option, tiny_run, tmp_path, capsys):
    words = ("sample", tiny_run, "--steps", 1, "-n", 1, "--npz", tmp_path / "x.npz", f"{option}={number}")
    refused(words, option.strip("-"), tmp_path, capsys)


@pytest.mark.parametrize("words, message", [
    (("network={kind: mlp, width: 8}", "network.width=16"), "network.width is given twice"),
    (("data={kind: toy, n: 100}", "--data-dir", "x", "data_dir=y"), "--data-dir and data_dir=... are the same"),
    (("--skip-bad", "data.skip_bad=false"), "--skip-bad and data.skip_bad=... are the same"),
    (("data_dir=''",), "data_dir="), (("start=''",), "start="), (("objective.kind=distillation", "objective.teacher=''"), "objective.teacher="),
])  # fmt: skip
def test_a_key_is_given_once(words, message, tmp_path, capsys):
    refused(("train", "toy", *words, "--out", tmp_path / "run"), message, tmp_path, capsys)


def test_keys_of_one_part_may_be_given_apart():
    assert parse_overrides(["network={kind: mlp}", "network.width=16", "steps=2"]) == {
        "network": {"kind": "mlp"}, "network.width": 16, "steps": 2,
    }  # fmt: skip


def test_no_path_is_empty(tmp_path, capsys, monkeypatch):
    """An empty one would be the current folder: of every option and argument that takes one."""
    monkeypatch.chdir(tmp_path)
    found = 0
    for command, words in build_parser()[1].items():
        places = [a for a in words._actions if a.type in (types.name, types.folder, types.output)]
        others = [w for a in words._actions if not a.option_strings and a.nargs is None for w in ["x"]]
        for action in places:
            for empty in ("", " "):
                given = [*others, action.option_strings[-1], empty] if action.option_strings else [empty, *others[1:]]
                refused((command, *given), "names nothing", tmp_path, capsys)
                found += 1
        told = {a.dest for a in places}
        assert {"run", "runs", "data_dir", "out", "strip", "gif", "npz", "npy", "start", "input", "mask", "guide", "operator", "recipe",
                "low", "high", "inception", "smaller", "model", "data"} & {a.dest for a in words._actions} <= told  # fmt: skip
    assert found > 80


def test_the_command_line_and_the_library_allow_the_same_number_of_steps():
    """Written twice, since the command line's grammar must not wait for torch."""
    assert types.MOST_STEPS == argument.MOST_STEPS
