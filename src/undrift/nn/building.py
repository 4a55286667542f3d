"""How networks are built: in float32, or without memory, to know their shapes before anything is spent on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialisation(TorchFunctionMode):
    """Skips what would fill weights that are not there; on "meta" some of it loads torch's compiler, which takes seconds."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextmanager
def in_float32() -> Iterator[None]:
    """While something is built, what is made without a dtype is float32, whatever the caller's default is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def without_memory() -> Iterator[None]:
    """Inside, whatever is built is on the device "meta", and its weights have shapes only."""
    with torch.device("meta"), _NoInitialisation():
        yield
