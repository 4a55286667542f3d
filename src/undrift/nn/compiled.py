"""A network that is compiled at its first call, and on a CUDA device recorded as graphs."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn

from undrift.error import UndriftError, short

Compiling = bool | Literal["graphs"]


def quiet() -> None:
    """Keep the compiler's pages of hints to itself: what counts is said in one line."""
    for name in ("torch._dynamo", "torch._inductor"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def why(error: Exception) -> str:
    """What a compiler complains of, in a few words."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0].strip()[:120]}"


def check_compiling(name: Any, device: torch.device) -> None:
    """Whether a network can be compiled so on a device.

    Raises:
        TypeError: neither yes, no nor graphs.
        UndriftError: graphs on a device that has none.
    """
    if not isinstance(name, bool) and name != "graphs":
        raise TypeError(f'`compile` is True, False or "graphs", got {short(name)}.')
    if name == "graphs" and device.type != "cuda":
        raise UndriftError(f"compile=graphs records CUDA graphs, and {device.type} has none; compile=true compiles on any device")


def compile_in_place(net: nn.Module, how: Compiling = True) -> None:
    """Compile a network with `torch.compile`; its parameters and their names stay.

    Args:
        net: What is compiled when it is first called.
        how: "graphs": what a call launches is recorded once for each shape and then launched as one CUDA graph. A graph writes its
            output into the same memory each time, so what is returned is a copy.
    """
    quiet()
    if how != "graphs":
        net.compile()
        return
    net.compile(mode="reduce-overhead")
    recorded: Any = net._compiled_call_impl

    def call(*given: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():  # in training a call may come before the gradients of the one before it
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        found = recorded(*given, **named)
        return found.clone() if isinstance(found, Tensor) else found

    net._compiled_call_impl = call


def compile_when_asked(net: nn.Module, how: Compiling = True) -> None:
    """Compile a network when it is first called; where that cannot be done, warn once and go on without.

    Args:
        net, how: As of `compile_in_place`.
    """
    compile_in_place(net, how)
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
