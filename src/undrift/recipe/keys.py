"""The keys of a recipe for `undrift train RECIPE --help`: each with its value there, its type and a sentence, from the schema itself."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any, get_args, get_type_hints

from undrift.data import DATA
from undrift.recipe.conditions import CONDITIONS
from undrift.recipe.objectives import OBJECTIVES
from undrift.recipe.options import FROM_DATA, Options
from undrift.recipe.read import load_recipe, read_recipe, recipe_names, recipe_text, run_named
from undrift.recipe.recipe import Recipe, SamplingOptions
from undrift.recipe.tables import NETWORKS, PROCESSES

Row = tuple[str, str, str, str]  # key, value, type, what it is for
# Arguments that many classes have, and none explains.
_COMMON = {
    "t_min": "the first time, where data are (almost) clean",
    "t_max": "the last time, where sampling starts from noise",
    "energy": "the score is the gradient of a scalar, so that it is conservative; training differentiates twice",
}


def recipes() -> list[str]:
    """The recipes of the library, each with the first sentence of its comment."""
    lines = []
    for name in recipe_names():
        comment = itertools.takewhile(lambda line: line.startswith("#"), recipe_text(name).splitlines())
        sentences = re.split(r"(?<=[a-z\d)`])\. ", " ".join(line.removeprefix("#").strip() for line in comment))
        lines.append(f"{name:<16}  {sentences[0].rstrip('.')}")
    return [*lines, "", "undrift train NAME [key=value ...]; `undrift train NAME --help` lists the keys"]


def keys(name: str) -> list[str]:
    """Every key that a recipe may have, with what it has in this one.

    Raises:
        RecipeError: no recipe and no run of this name.
    """
    run = run_named(name)
    recipe = load_recipe(name) if run is None else read_recipe(run / "config.yaml")
    lines = [f"keys of a recipe, as {name} has them:", *_table(_of_options(Recipe, recipe))]
    kind = str(recipe.data.get("kind"))
    if kind in DATA:
        lines += ["", f"data, of data.kind={kind} (others: {_others(DATA, kind)}):", *_table(_of_data(kind, recipe.data))]
    process: Any = recipe.process
    lines += ["", f"process, of process.kind={process.kind} (others: {_others(PROCESSES, process.kind)}):"]
    lines += _table(_of_class("process", PROCESSES[process.kind], process))
    network: Any = recipe.network
    if network is None:
        lines += ["", f"network: one that fits the data; or name one with network.kind ({', '.join(NETWORKS)}):"]
    else:
        lines += ["", f"network, of network.kind={network.kind} (others: {_others(NETWORKS, network.kind)}):"]
        lines += _table(_of_class("network", NETWORKS[network.kind], network))
    o = recipe.objective
    lines += ["", f"objective, of objective.kind={o.kind} (others: {_others(OBJECTIVES, o.kind)}):"]
    lines += _table(_of_options(type(o), o, "objective."))
    lines += ["", "sampling:", *_table(_of_options(SamplingOptions, recipe.sampling, "sampling."))]
    if recipe.condition is None:
        return [*lines, "", f"condition: none, or condition.kind={', '.join(CONDITIONS)}; see docs/conditioning.md"]
    chosen = recipe.condition
    lines += ["", f"condition, of condition.kind={chosen.kind} (others: {_others(CONDITIONS, chosen.kind)}):"]
    return [*lines, *_table(_of_options(type(chosen), chosen, "condition."))]


def every() -> dict[str, list[Row]]:
    """All keys of all kinds, by where they belong, each with its default: what the page of the docs shows."""
    told = {"A recipe": _of_defaults(Recipe)}
    told |= {f"data.kind={kind}": _of_data(kind, {}) for kind in DATA}
    for part, table in (("process", PROCESSES), ("network", NETWORKS)):
        told |= {f"{part}.kind={kind}": _of_signature(part, made) for kind, made in table.items()}
    told |= {f"objective.kind={kind}": _of_defaults(options, "objective.") for kind, options in OBJECTIVES.items()}
    told |= {f"condition.kind={kind}": _of_defaults(options, "condition.") for kind, options in CONDITIONS.items()}
    return told | {"sampling": _of_defaults(SamplingOptions, "sampling.")}


def _of_defaults(cls: type[Options], prefix: str = "") -> list[Row]:
    """A row for each field with the default of the class."""
    rows = []
    for name, field in cls.model_fields.items():
        if isinstance(field.default, Options) or name in ("recipe", "data", "process", "network", "condition", "kind"):
            continue
        value = "needed" if field.is_required() else _value(field.default)
        rows.append((prefix + name, value, _type(field.annotation), field.description or ""))
    return rows


def _of_signature(prefix: str, cls: type) -> list[Row]:
    """A row for each argument of a class with its default."""
    hints, parameters = get_type_hints(cls.__init__), inspect.signature(cls).parameters  # type: ignore[misc]
    names = [n for n in parameters if n not in FROM_DATA]
    said = _COMMON | described(cls, names)
    return [(f"{prefix}.{n}", _value(parameters[n].default), _type(hints[n]), said.get(n, "")) for n in names]


def _others(table: Any, chosen: str) -> str:
    return ", ".join(name for name in table if name != chosen)


def _table(rows: list[Row]) -> list[str]:
    widths = [min(34, max((len(row[i]) for row in rows), default=0)) for i in range(3)]
    return ["  " + "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip() for row in rows]


def _of_options(cls: type[Options], options: Options, prefix: str = "") -> list[Row]:
    """A row for each field that is a single value."""
    rows = []
    for name, field in cls.model_fields.items():
        value = getattr(options, name)
        if isinstance(value, (Options, dict)) or name in ("recipe", "network", "condition", "kind"):
            continue
        rows.append((prefix + name, _value(value), _type(field.annotation), field.description or ""))
    return rows


def _of_class(prefix: str, cls: type, options: Options) -> list[Row]:
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    names = [n for n in inspect.signature(cls).parameters if n not in FROM_DATA]
    said = _COMMON | described(cls, names)
    return [(f"{prefix}.{n}", _value(getattr(options, n)), _type(hints[n]), said.get(n, "")) for n in names]


def _of_data(kind: str, given: dict[str, Any]) -> list[Row]:
    source = DATA[kind]
    hints, signature = get_type_hints(source.load), inspect.signature(source.load)
    names = list(signature.parameters)[0 if source.place is None else 1 :]
    said = described(source.load, names)
    return [(f"data.{n}", _value(given.get(n, signature.parameters[n].default)), _type(hints[n]), said.get(n, "")) for n in names]


def described(thing: Any, names: list[str]) -> dict[str, str]:
    """The first sentence on each argument in a docstring's Args, in which `a, b: ...` speaks of both."""
    found = re.search(r"Args:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(thing) or "", re.S)
    text = " ".join(found.group(1).split()) if found else ""
    known = "|".join(map(re.escape, names)) or "(?!)"
    every = inspect.signature(thing).parameters
    heads = [m for m in re.finditer(r"(?:(?<=^)|(?<=[.;] )|(?<= ))((?:\w+, )*\w+): ", text) if m.group(1).split(", ")[0] in every]
    told: dict[str, str] = {}
    for head, end in zip(heads, [*(m.start() for m in heads[1:]), len(text)], strict=False):
        body = text[head.end() : end].strip()
        sentence = re.split(r"(?<=[a-z\])\d`\"])\. ", body + " ")[0].strip().rstrip(".")
        told |= {name: sentence for name in head.group(1).split(", ") if re.fullmatch(known, name)}
    return told


def _value(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "needed"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(hint: Any) -> str:
    """A type in words."""
    plain = {int: "number", float: "number", bool: "true/false", str: "text", type(None): "none"}
    if hint in plain:
        return "whole number" if hint is int else plain[hint]
    parts = get_args(hint)
    if getattr(hint, "__metadata__", None):
        return _type(parts[0])
    if parts and all(isinstance(p, (str, int)) and not isinstance(p, type) for p in parts):
        return "|".join(map(str, parts)) if len(parts) <= 4 else f"one of {len(parts)} names"
    if (parts and getattr(hint, "__origin__", None) in (tuple, list)) or "Sequence" in str(hint)[:40]:
        return "list"
    words = list(dict.fromkeys(_type(p) for p in parts if p is not type(None)))
    return " or ".join(words) if words else "value"
