"""Options of a part of a recipe: pydantic models, written out or read from the signature of a class."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

FROM_DATA = ("channels_in", "rank", "shape", "classes", "vector", "image", "sequence")  # arguments that the data decide


class Options(BaseModel):
    """Base of all recipe parts: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def kinds(options: Options) -> dict[str, Any]:
    """A recipe part as a plain dict of JSON values."""
    return options.model_dump(mode="json")


def one_of(parts: Iterable[type[Options]]) -> Any:
    """Any of these options, told apart by `kind`."""
    return Annotated[Union[tuple(parts)], Field(discriminator="kind")]  # noqa: UP007


def union_of(table: Mapping[str, type], **more: tuple[Any, Any]) -> Any:
    """The options of any class of a table, told apart by `kind`, its name there.

    Args:
        table: Classes by name.
        more: Fields that all have besides their arguments: types and defaults.
    """
    return one_of(_arguments(kind, cls, more) for kind, cls in table.items())


def _arguments(kind: str, cls: type, more: Mapping[str, tuple[Any, Any]]) -> type[Options]:
    """The arguments of `cls` and the tag `kind`."""
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    fields: dict[str, Any] = {"kind": (Literal[kind], kind), **more}
    for name, parameter in inspect.signature(cls).parameters.items():
        if name not in FROM_DATA:
            fields[name] = (hints[name], parameter.default)
    return create_model(f"{cls.__name__}Options", __base__=Options, **fields)
