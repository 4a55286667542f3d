"""Objectives, energies and variance heads in recipes."""

import pytest

import undrift as ud
from undrift.error import RecipeError
from undrift.recipe.build import build_network
from undrift.recipe.explain import known_keys
from undrift.recipe.objectives import DenoisingOptions
from undrift.recipe.read import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_as_they_were(name):
    """A recipe that says nothing of a kind is denoising score matching."""
    recipe = load_recipe(name)
    assert recipe.objective.kind == "denoising"
    assert isinstance(recipe.objective.build(0.5), ud.DenoisingScoreMatching)


KINDS = {
    "denoising": ud.DenoisingScoreMatching, "implicit": ud.ImplicitScoreMatching, "sliced": ud.SlicedScoreMatching,
    "hybrid": ud.HybridObjective, "bound": ud.VariationalBound,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind):
    overrides = {"objective.kind": kind, "network.learned_variance": kind == "hybrid"}
    recipe = load_recipe("toy", overrides | ({"objective.levels": 100} if kind in ("hybrid", "bound") else {}))
    assert isinstance(recipe.objective.build(0.5), KINDS[kind])


def test_options_reach_the_objective():
    recipe = load_recipe(
        "toy", {"objective.kind": "sliced", "objective.probes": 3, "objective.law": "sphere", "objective.weight": "sigma2"}
    )
    assert recipe.objective.build(1.0) == ud.SlicedScoreMatching(3, "sphere", weight="sigma2")
    recipe = load_recipe("toy", {"objective.kind": "implicit", "objective.exact_up_to": 2, "objective.times": "lognormal"})
    assert recipe.objective.build(1.0).exact_up_to == 2


def test_networks():
    network = build_network({"kind": "mlp", "width": 8, "depth": 1, "energy": True}, (2,), 0)
    assert isinstance(network, ud.nn.Energy)
    assert build_network({"kind": "mlp", "width": 8, "learned_variance": True}, (2,), 0).last.out_features == 4
    assert {"network.energy", "network.learned_variance", "objective.kind", "objective.probes"} <= {*known_keys()}
    assert DenoisingOptions().kind == "denoising"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"objective.kind": "slised"}, "slised. is unknown"),
        ({"objective.probes": 3}, "objective.probes means nothing to objective.kind=denoising"),
        (
            {"objective.kind": "sliced", "objective.exact_up_to": 3},
            "objective.exact_up_to means nothing to objective.kind=sliced",
        ),
        ({"objective.kind": "sliced", "objective.times": "importance"}, "importance is for objective.kind=denoising"),
        ({"objective.kind": "hybrid", "objective.levels": 10}, "network.learned_variance=true"),
        ({"objective.kind": "bound"}, "needs a chain"),
        ({"objective.kind": "bound", "objective.levels": 9, "objective.variance": "learned"}, "network.learned_variance=true"),
    ],
)
def test_illegal(overrides, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("toy", overrides)
    with pytest.raises(RecipeError, match="exclude each other"):
        build_network({"kind": "mlp", "energy": True, "learned_variance": True}, (2,), 0)
