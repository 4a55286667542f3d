"""A device that is not the CPU, on any machine: what is forgotten there fails here, and whatever makes a GPU wait is counted.

A tensor on it wraps one of the CPU. Its rules are those of a GPU: tensors of two devices do not mix, but for single numbers of the
CPU; reading a number, or a shape that depends on numbers, waits; so does a copy between it and unpinned memory.

    with Waits() as waits:
        ...
    assert waits.what == []
"""

from __future__ import annotations

import traceback
from pathlib import Path

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend


class _Module(_DummyBackendModule):
    """What torch asks of a kind of device, also in tests that have nothing to do with it: it is registered for the whole process."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, device=None):
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state, device=None):
        pass


_setup_privateuseone_for_python_backend("fake", _Module())
FAKE = torch.device("fake", 0)
CPU = torch.device("cpu")
aten = torch.ops.aten

# Their results have shapes or are numbers that the CPU must know before it goes on.
WAITING = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.is_nonzero.default, aten.masked_select.default,
    aten._unique2.default, aten.unique_dim.default, aten.repeat_interleave.Tensor,
}  # fmt: skip
_open: list[Waits] = []


class Waits:
    """What a GPU would have waited for in the time of a `with`: `what` lists each, with the line of undrift that asked."""

    def __init__(self) -> None:
        self.what: list[str] = []

    def __enter__(self) -> Waits:
        _open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _open.remove(self)


def _waits(what: str) -> None:
    if _open:
        ours = [f for f in traceback.extract_stack() if "/undrift/" in f.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].line}" if ours else "elsewhere"
        for waits in _open:
            waits.what.append(f"{what} at {where}")


class OnFake(torch.Tensor):
    """A tensor of the fake device, around one of the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnFake:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, device=FAKE
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:  # printing reads
        return f"OnFake({self.inner!r})"

    def tolist(self):
        _waits("tolist")
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func, args, kwargs):
    """An operation on tensors of the fake device, or that makes one."""
    tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    asked = kwargs.get("device")
    asked = None if asked is None else torch.device(asked)
    if func in (aten._to_copy.default, aten.copy_.default):
        return copy(func, args, kwargs, asked)
    strange = [a for a in tensors if not isinstance(a, OnFake) and a.ndim]
    indexing = func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
    if strange and indexing and isinstance(args[0], OnFake):
        _waits("an index of the CPU")
    elif strange and any(isinstance(a, OnFake) for a in tensors):
        raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found at least two, fake:0 and cpu")
    by = [a for a in tree_leaves(args[1]) if isinstance(a, torch.Tensor)] if func is aten.index.Tensor else []
    if isinstance(args[0] if args else None, OnFake) and any(a.dtype in (torch.bool, torch.uint8) for a in by):
        _waits("an index of bools")
    if func in WAITING and any(isinstance(a, OnFake) for a in tensors):
        _waits(str(func))
    if asked is not None:
        kwargs = {**kwargs, "device": CPU}
    out = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func is aten._local_scalar_dense.default or (asked is not None and asked.type == "cpu"):
        return out
    return return_and_correct_aliasing(func, args, kwargs, tree_map(_wrapped, out))


def copy(func, args, kwargs, asked):
    """Copies: between the devices they wait, unless the memory of the CPU is pinned and nobody wants to wait."""
    if func is aten.copy_.default:
        here, there = (isinstance(a, OnFake) for a in args[:2])
        if here != there and not (len(args) > 2 and args[2]) and not kwargs.get("non_blocking"):
            _waits("a copy to the device" if here else "a copy from the device")
        func(_inner(args[0]), _inner(args[1]))
        return args[0]
    here = isinstance(args[0], OnFake)
    to = here if asked is None else asked.type == "fake"
    if here != to and not kwargs.get("non_blocking"):
        _waits("a copy to the device" if to else "a copy from the device")
    kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    out = func(_inner(args[0]), **kwargs)
    return OnFake(out) if to else out


def _inner(a):
    return a.inner if isinstance(a, OnFake) else a


def _wrapped(a):
    return OnFake(a) if isinstance(a, torch.Tensor) and not isinstance(a, OnFake) else a


_library = torch.library.Library("_", "IMPL")
_library.fallback(lambda func, *args, **kwargs: run(func, args, kwargs), "PrivateUse1")
# These would otherwise be made of others on the way: of one that asks for a copy by itself, or of one that changes the size of a result.
_NAMED = (
    "_to_copy",
    "copy_",
    "lift_fresh",
    "arange",
    "arange.start",
    "arange.start_step",
    "linspace",
    "eye",
    "eye.m",
    "randperm",
)
_named = torch.library.Library("aten", "IMPL")
for _name in _NAMED:
    _op = getattr(getattr(aten, _name.partition(".")[0]), _name.partition(".")[2] or "default")
    _named.impl(_name, lambda *args, _op=_op, **kwargs: run(_op, args, kwargs), "PrivateUse1")
