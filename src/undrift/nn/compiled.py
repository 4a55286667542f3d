"""A network that is compiled at its first call."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import nn


def quiet() -> None:
    """Keep the compiler's pages of hints to itself: what counts is said in one line."""
    for name in ("torch._dynamo", "torch._inductor"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def why(error: Exception) -> str:
    """What a compiler complains of, in a few words."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0].strip()[:120]}"


def compile_when_asked(net: nn.Module) -> None:
    """Compile a network with `torch.compile` when it is first called; where that cannot be done, warn once and go on without.

    Args:
        net: Compiled in place; its parameters and their names stay.
    """
    quiet()
    net.compile()
    compiled: Any = net._compiled_call_impl

    def call(*given: Any, **named: Any) -> Any:
        try:
            return compiled(*given, **named)
        except Exception as error:  # whatever a compiler may raise; a fault of the network itself is raised again below
            net._compiled_call_impl = None
            torch.compiler.reset()
            found = net(*given, **named)
            warnings.warn(f"the network cannot be compiled here ({why(error)}); going on without", stacklevel=2)
            return found

    net._compiled_call_impl = call
