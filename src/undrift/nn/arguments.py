"""Networks that know how they were made, so that a trained one can be described in a file."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, TypeVar

from torch import nn

C = TypeVar("C", bound=type[nn.Module])


def remembered(cls: C) -> C:
    """A class of networks whose objects keep the arguments that they were made with, defaults too, in `arguments`."""
    make = cls.__init__
    signature = inspect.signature(make)

    @wraps(make)
    def remember(self: Any, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        if type(self) is cls:
            bound = signature.bind(self, *given, **named)
            bound.apply_defaults()
            self.__dict__["arguments"] = dict(list(bound.arguments.items())[1:])

    cls.__init__ = remember  # type: ignore[method-assign]
    return cls
