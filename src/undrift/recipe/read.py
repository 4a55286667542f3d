"""Recipes from files, from their names, and from the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from undrift.error import RecipeError, nearest, short
from undrift.recipe.explain import explain
from undrift.recipe.limits import check_parts
from undrift.recipe.objectives import options_read
from undrift.recipe.options import kinds
from undrift.recipe.recipe import Recipe
from undrift.schema import Unreadable, parse_yaml, read_yaml


def recipe_names() -> list[str]:
    """Names of the recipes that come with the library."""
    return sorted(
        p.name.removesuffix(".yaml") for p in resources.files("undrift.recipe.yaml").iterdir() if p.name.endswith(".yaml")
    )


def run_named(name: str) -> Path | None:
    """The run whose folder is given in place of a recipe's name; None where it is a name."""
    return Path(name) if name not in recipe_names() and (Path(name) / "config.yaml").is_file() else None


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, or that of a run by its folder, with overrides `{"process.beta_max": 15, ...}`.

    Giving `steps` takes back the recipe's `minutes`, and the other way round.

    Raises:
        RecipeError: an unknown recipe or key (the nearest is named), an illegal value.
    """
    if "recipe" in (overrides or {}):
        raise RecipeError("the recipe is chosen by name, not by an override; leave out recipe=...")
    if (run := run_named(name)) is not None:
        return read_recipe(run / "config.yaml", overrides)
    if name not in recipe_names():
        raise RecipeError(f'recipe "{name}" is unknown{nearest(name, recipe_names())}')
    return make_recipe({"recipe": name, **parse_yaml(recipe_text(name))}, overrides or {})


def recipe_text(name: str) -> str:
    """A recipe of the library as it is written, its first line a comment that says what it is for."""
    return resources.files("undrift.recipe.yaml").joinpath(f"{name}.yaml").read_text()


def read_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of an existing run (its config.yaml), with overrides."""
    tree = read_yaml(path, RecipeError, "a recipe", "restore it or start a new run")
    return make_recipe(tree, overrides or {})


def make_recipe(tree: dict[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """Check a recipe given as nested dicts, with dotted overrides."""
    given = dict(overrides)
    for one, other in (("steps", "minutes"), ("minutes", "steps")):
        if one in given and other not in given:
            given[other] = None
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    for key, value in sorted(given.items(), key=lambda item: not item[0].endswith(".kind")):
        *path, leaf = key.split(".")
        node: Any = tree
        for part in path:
            if isinstance(node, dict) and node.get(part) is None:
                node[part] = {}
            node = node[part] if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise RecipeError(f'override "{key}": {".".join(path)} is a single value and has no parts')
        if leaf == "kind" and node.get("kind") != value:
            # Options of the old kind mean nothing to the new one, but a distillation asks as score matching does.
            same = options_read("distillation") if value == "distillation" else ()
            for option in [k for k in node if k not in same]:
                del node[option]
        node[leaf] = value
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(explain(error)) from None
    try:
        check_parts(recipe.model_dump(mode="json"))
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if recipe.steps is None and recipe.minutes is None:
        raise RecipeError("a run needs an end: give steps=... or minutes=...")
    if not recipe.monitor_every and (recipe.patience or recipe.until == "converged"):
        raise RecipeError("patience and until=converged go by the held-out loss; give monitor_every, such as 250")
    if not recipe.label_dropout and recipe.sampling.scale != 1:
        raise RecipeError(
            "label_dropout=0 teaches nothing of samples without their class, so they cannot be guided by "
            f"sampling.scale={recipe.sampling.scale:g}; give sampling.scale=1 as well, or leave label_dropout out"
        )
    learned = recipe.network is not None and kinds(recipe.network).get("learned_variance", False)
    recipe.objective.check(kinds(recipe.process)["kind"], learned)
    check_thrift(recipe)
    return recipe


def check_thrift(recipe: Recipe) -> None:
    """What cannot be had together. Raises RecipeError."""
    energy = recipe.network is not None and kinds(recipe.network)["energy"]
    twice = "network.energy" if energy else f"objective.kind={recipe.objective.kind}"
    if energy or recipe.objective.differentiates_twice:
        if recipe.precision == "float16":
            raise RecipeError(
                f"precision=float16 does not go with {twice}: the network is differentiated twice, and the inner derivative, which no "
                "scale of the loss reaches, would underflow; use bfloat16 or float32"
            )
        if recipe.shard:
            raise RecipeError(
                f"shard=true does not go with {twice}: the network is differentiated twice, but its parts are put back after the first "
                "derivative; leave one of them out"
            )
    if recipe.shard and recipe.optimizer == "muon":
        raise RecipeError(
            "shard=true leaves each process a part of a matrix, and optimizer=muon turns whole ones; use optimizer=adamw"
        )
    if recipe.shard and recipe.compile:
        raise RecipeError("shard=true and compile=true exclude each other; choose one")


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """`["steps=200", "process.beta_max=15"]` to a dict, values read as YAML."""
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise RecipeError(f'"{short(word)}" is not an override; write key=value, such as steps=2000')
        try:
            parsed = parse_yaml(value)
            # YAML 1.1 wants a dot in floats; people write 1e-4.
            overrides[key] = float(parsed) if isinstance(parsed, str) and _is_float(parsed) else parsed
        except Unreadable as error:
            raise RecipeError(f"{short(key)}: the value is not readable: {error}") from None
    for key, value in overrides.items():
        for *path, leaf in (other.split(".") for other in overrides if other.startswith(f"{key}.")):
            node = value
            for part in path[len(key.split(".")) :]:
                node = node.get(part) if isinstance(node, dict) else None
            if isinstance(node, dict) and leaf in node:
                raise RecipeError(f"{short('.'.join([*path, leaf]))} is given twice, by itself and in {short(key)}; give it once")
    return overrides


def add_override(overrides: dict[str, Any], key: str, value: Any, option: str) -> None:
    """An option that stands for a key of the recipe. Raises RecipeError where that is given, too."""
    if key in overrides:
        raise RecipeError(f"{option} and {key}=... are the same, and both are given; give one of them")
    overrides[key] = value


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
