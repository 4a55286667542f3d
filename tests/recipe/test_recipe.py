"""Recipes: what is accepted, what is built, and what an error says."""

import dataclasses
import re

import pytest
import torch

import undrift as ud
from conftest import refused
from undrift.error import RecipeError
from undrift.recipe.build import build_denoiser, build_network, build_process, default_network
from undrift.recipe.options import kinds
from undrift.recipe.read import load_recipe, make_recipe, parse_overrides, read_recipe, recipe_names
from undrift.recipe.tables import PROCESSES, SAMPLERS


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_buildable(name):
    recipe = load_recipe(name)
    network = kinds(recipe.network) if recipe.network else default_network((1, 8, 8))
    shape = (2,) if network["kind"] in ("mlp", "perceptron") else (1, 28, 28)
    denoiser = build_denoiser(network, kinds(recipe.process), recipe.target, 0.6, shape, 10)
    assert isinstance(denoiser, ud.Denoiser)
    assert denoiser.shape == shape
    recipe.objective.build(0.6)
    assert recipe.sampling.sampler in SAMPLERS


@pytest.mark.parametrize("kind", PROCESSES)
def test_every_process_goes_through_a_recipe_unchanged(kind):
    recipe = make_recipe(load_recipe("toy").model_dump(), {"process.kind": kind})
    built = build_process(kinds(recipe.process))
    assert built == PROCESSES[kind]()
    again = build_process(kinds(make_recipe(recipe.model_dump(mode="json"), {}).process))
    assert again == built
    assert dataclasses.is_dataclass(built)


def test_overrides_reach_their_place():
    words = [
        "process.kind=vp",
        "process.beta_max=15",
        "steps=7",
        "learning_rate=1e-4",
        "network.widths=[8, 16]",
        "data.name=moons",
    ]
    recipe = load_recipe("digits", parse_overrides(words))
    assert recipe.process.beta_max == 15
    assert recipe.learning_rate == 1e-4
    assert recipe.network.widths == (8, 16)
    assert recipe.data["name"] == "moons"


def test_a_new_kind_forgets_the_options_of_the_old_in_any_order():
    for words in (["process.beta_max=15", "process.kind=vp"], ["process.kind=vp", "process.beta_max=15"]):
        assert load_recipe("digits", parse_overrides(words)).process.beta_max == 15


def test_steps_and_minutes_take_each_other_back():
    assert load_recipe("mnist", {"steps": 5}).minutes is None
    assert load_recipe("digits", {"minutes": 2.0}).steps is None
    both = load_recipe("digits", {"minutes": 2.0, "steps": 5})
    assert (both.minutes, both.steps) == (2.0, 5)


@pytest.mark.parametrize(("name", "words", "message"), [
    ("digitz", [], 'recipe "digitz" is unknown — did you mean "digits"'),
    ("digits", ["stepz=3"], 'unknown key "stepz" — did you mean "steps"'),
    ("digits", ["process.kind=vp", "process.beta_mx=3"], 'unknown key "process.beta_mx" — did you mean "process.beta_m'),
    ("001-smld", ["network.learned_variance=true"], 'unknown key "network.learned_variance"'),
    ("digits", ["network.kind=refinnet"], 'network.kind "refinnet" is unknown — did you mean "refinenet"'),
    ("digits", ["network.layout=dpm"], 'network.layout "dpm" is unknown — did you mean "ddpm"'),
    ("digits", ["network.width=3"], 'unknown key "network.width" — did you mean "network.widths"'),
    ("digits", ["process.kind=subvq"], 'process.kind "subvq" is unknown — did you mean "subvp"'),
    ("digits", ["network.kind=unett"], 'network.kind "unett" is unknown — did you mean "unet"'),
    ("digits", ["sampling.sampler=dpm3"], 'sampling.sampler "dpm3" is unknown — did you mean "dpm3m"'),
    ("digits", ["target=noize"], 'target "noize" is unknown — did you mean "noise"'),
    ("digits", ["steps=0"], "steps=0: input should be greater than or equal to 1"),
    ("digits", ["steps=-5"], "steps=-5"),
    ("digits", ["batch_size=99999999999"], "batch_size=99999999999: input should be less than or equal to 1048576"),
    ("digits", ["seed=4294967296"], "seed=4294967296: input should be less than 4294967296"),
    ("digits", ["steps=many"], "steps=many"),
    ("digits", ["learning_rate=.nan"], "learning_rate=nan"),
    ("digits", ["steps"], '"steps" is not an override; write key=value'),
    ("digits", ["=3"], "is not an override"),
    ("digits", ["steps.more=3"], "steps is a single value and has no parts"),
    ("digits", ["steps=[1"], "is not readable"),
    ("digits", ["steps="], "a run needs an end"),
    ("digits", ["label_dropout=0"], "label_dropout=0 teaches nothing of samples without their class"),
    ("digits", ["sampling.scale=.nan"], "sampling.scale=nan"),
])  # fmt: skip
def test_what_a_recipe_error_says(name, words, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, parse_overrides(words))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_only_the_class_can_judge():
    with pytest.raises(RecipeError, match=r"process: VP needs 0 < beta_min < beta_max"):
        build_process({"kind": "vp", "beta_min": 30.0, "beta_max": 20.0})
    with pytest.raises(RecipeError, match="network: "):
        build_network({"kind": "unet", "widths": []}, (1, 8, 8), 0)
    with pytest.raises(RecipeError, match=r"network\.kind=mlp"):
        build_network({"kind": "unet"}, (2,), 0)
    with pytest.raises(RecipeError, match="target=noise: this target tells nothing"):
        build_denoiser({"kind": "mlp"}, {"kind": "rectified"}, "noise", 1.0, (2,), 0)


def test_a_damaged_recipe_file(tmp_path):
    path = tmp_path / "config.yaml"
    for text in (b"\xff\xfe\x00", b"- a\n- b\n", b"{a: [", b"!!python/object/apply:os.system ['true']\n"):
        path.write_bytes(text)
        with pytest.raises(RecipeError, match=r"config\.yaml"):
            read_recipe(path)


def test_reading_a_recipe_executes_nothing(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"recipe: !!python/object/apply:os.system ['touch {tmp_path}/owned']\n")
    with pytest.raises(RecipeError):
        read_recipe(path)
    assert not (tmp_path / "owned").exists()


def test_every_network_is_built_from_its_own_description():
    for kind, shape in (("unet", (3, 9, 12)), ("mlp", (2, 5))):
        network = build_network({"kind": kind}, shape, 4)
        x = torch.randn(2, *shape)
        assert network(x, torch.zeros(2), torch.tensor([1, -1])).shape == x.shape


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "shape, kind, quick, wide",  # levels and patch, on a CPU and on a GPU
    [
        ((5,), "mlp", None, None),
        ((1, 7, 9), "mlp", None, None),
        ((3, 4), "mlp", None, None),
        ((1, 8, 8), "unet", (2, 1), (2, 1)),
        ((1, 28, 28), "unet", (2, 2), (2, 2)),
        ((3, 32, 32), "unet", (2, 2), (2, 2)),
        ((3, 64, 96), "unet", (2, 4), (3, 2)),
        ((3, 256, 256), "unet", (4, 4), (5, 2)),
        ((2, 64), "unet", (3, 2), (3, 2)),
        ((1, 16, 16, 16), "unet", (2, 1), (2, 1)),
    ],
)
def test_the_network_fits_the_data_and_the_device(shape, kind, quick, wide, device):
    network = default_network(shape, device)
    assert network["kind"] == kind
    if kind == "unet":
        assert (len(network["widths"]), network["patch"]) == (quick if device == "cpu" else wide)
        attends = len(shape) == 3 and (shape[0] == 3 or device == "cpu")
        assert network.get("attention") == ([len(network["widths"]) - 1] if attends else None)
    recipe = load_recipe("images", {"network": network})
    net = build_network(kinds(recipe.network), shape, 3)
    if kind == "unet":
        assert net.rank == len(shape) - 1


def test_a_unet_of_vectors():
    recipe = load_recipe("images", {"network": {"kind": "unet"}})
    with pytest.raises(RecipeError, match=r"wants sequences \(C, L\), images .* but these data have shape \(5,\)"):
        build_network(kinds(recipe.network), (5,), 0)


HUGE = 2**62


@pytest.mark.parametrize("key, value", [
    ("network.width", HUGE), ("network.depth", 100_000), ("network.depth", HUGE), ("process.beta_max", 1e9), ("data.n", HUGE), ("data.n", 10**9),
    ("objective.exact_up_to", HUGE), ("objective.probes", HUGE), ("objective.levels", HUGE), ("sampling.steps", HUGE),
    ("batch_size", HUGE), ("accumulate", HUGE), ("warmup", HUGE), ("keep", HUGE), ("monitor_examples", HUGE), ("seed", HUGE),
    ("steps", HUGE), ("log_every", HUGE), ("snapshots", HUGE), ("patience", HUGE),
])  # fmt: skip
def test_a_number_of_absurd_size_names_its_key(key, value, tmp_path, capsys):
    """Before anything is built from it, in a recipe as in the config.yaml of a run."""
    refused(("train", "toy", "network.kind=mlp", f"{key}={value}", "--out", tmp_path / "run"), key, tmp_path, capsys)
    with pytest.raises(RecipeError, match=re.escape(key)):
        load_recipe("toy", {"network.kind": "mlp", key: value})


@pytest.mark.parametrize("words, key", [
    (["process.kind=ddpm", f"process.steps={HUGE}"], "process.steps"), (["process.kind=smld", f"process.levels={HUGE}"], "process.levels"),
    (["network.kind=unet", f"network.widths=[8,{HUGE}]"], "network.widths"),
    (["network.kind=unet", "network.widths=[8,8]", "network.blocks=1000"], "network.blocks"),
])  # fmt: skip
def test_absurd_parts_name_their_keys(words, key, tmp_path, capsys):
    refused(("train", "digits", *words, "--out", tmp_path / "run"), key, tmp_path, capsys)


def test_a_network_that_does_not_fit_into_memory_is_not_begun(tmp_path, capsys):
    words = ("train", "toy", "network.width=1000000", "device=cpu", "data.n=100", "--out", tmp_path / "run")
    refused(words, "parameters take", tmp_path, capsys)


def test_the_config_of_a_run_is_checked_alike(copied_run, capsys):
    path = copied_run / "config.yaml"
    path.write_text(re.sub(r"widths:\n(  - \d+\n)+", f"widths: [{HUGE}]\n", path.read_text()))
    refused(("train", "digits", "--out", copied_run), "network.widths", copied_run, capsys)
