"""What is wrong with a recipe, in one line: the first problem, with its dotted key and the nearest that is known."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from undrift.error import nearest, short
from undrift.recipe.conditions import CONDITIONS
from undrift.recipe.objectives import OBJECTIVES, options_read
from undrift.recipe.options import FROM_DATA, Options
from undrift.recipe.recipe import Recipe, SamplingOptions
from undrift.recipe.tables import NETWORKS, PROCESSES
from undrift.synonyms import hint, meant


def explain(error: ValidationError) -> str:
    """One line from pydantic's report: the first problem, with its dotted place."""
    first = error.errors(include_url=False)[0]
    tags = {*PROCESSES, *NETWORKS, *CONDITIONS, *OBJECTIVES}
    path = [str(p) for i, p in enumerate(first["loc"]) if not (i == 1 and p in tags)]
    key, given = short(".".join(path)), first.get("input")
    if first["type"] == "extra_forbidden":
        known, kind = known_keys(first["loc"]), str(first["loc"][1] if len(first["loc"]) > 1 else "")
        if path[0] == "objective" and key in known and kind in OBJECTIVES:
            return f"{key} means nothing to objective.kind={kind}; it reads {', '.join(options_read(kind))}"
        return f'unknown key "{key}"{hint(path[-1], known) if meant(path[-1], known) else nearest(key, known)}'
    if first["type"] == "missing":
        return f'the recipe lacks "{key}"'
    if first["type"].startswith("union_tag"):
        tables: dict[str, Mapping[str, Any]] = {
            "process": PROCESSES, "network": NETWORKS, "condition": CONDITIONS, "objective": OBJECTIVES,
        }  # fmt: skip
        named = given.get("kind") if isinstance(given, dict) else given
        if isinstance(given, dict) and named is None:
            return f"{path[0]} has options but no kind; add {path[0]}.kind: {', '.join(sorted(tables[path[0]]))}"
        return f'{path[0]}.kind "{short(named)}" is unknown{nearest(short(named), tables[path[0]])}'
    if first["type"] == "literal_error":
        choices = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f'{key} "{short(given)}" is unknown{nearest(short(given), choices)}'
    return f"{key}={short(given)}: {first['msg'][0].lower()}{first['msg'][1:]}"


def known_keys(loc: tuple[Any, ...] = ()) -> list[str]:
    """All dotted keys of a recipe, those of one chosen kind where `loc` names it."""
    keys = [k for k in Recipe.model_fields if k != "recipe"] + [
        "data.kind",
        "data.size",
        "data.flip",
        "data.channels",
        "data.workers",
    ]
    parts: list[tuple[str, type[Options]]] = [("sampling", SamplingOptions)]
    parts += [("objective", kind) for kind in OBJECTIVES.values()] + [("condition", kind) for kind in CONDITIONS.values()]
    for part, options in parts:
        keys += [f"{part}.{k}" for k in options.model_fields]
    for place, table in (("process", PROCESSES), ("network", NETWORKS)):
        chosen = [table[loc[1]]] if len(loc) > 1 and loc[0] == place and loc[1] in table else table.values()
        keys += ["network.energy"] if place == "network" else []
        for cls in chosen:
            keys += [f"{place}.{k}" for k in inspect.signature(cls).parameters if k not in FROM_DATA]
        keys.append(f"{place}.kind")
    return list(dict.fromkeys(keys))
