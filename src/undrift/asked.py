"""What is asked of a model: `Guidance`, towards what and how strongly; and `Sampling`, in which steps.

The methods of a `Model` that draw or measure take either value, or the same things as keyword arguments (`interpolate` takes conditions
alone):

    model.sample(16, cond=7, scale=2.0, steps=10)
    model.sample(16, guidance=Guidance(7, scale=2.0), sampling=Sampling(steps=10))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, fields, replace
from inspect import signature
from itertools import islice
from typing import Any, Protocol, TypedDict, TypeVar

import numpy as np
from torch import Tensor

from undrift.argument import instance, said, tensor
from undrift.condition import Condition
from undrift.data.spec import Spec
from undrift.denoiser import Denoiser
from undrift.error import UndriftError, short
from undrift.guidance import NoisyClassifier
from undrift.recipe.tables import SAMPLERS
from undrift.sampler import Sampler
from undrift.synonyms import hint

# A class (by name or number) or a text for all, one for each, or a `Condition`. Numbers may be NumPy's, or tensors.
Asked = int | str | Sequence[int | str] | Tensor | np.ndarray | Condition | None
V = TypeVar("V", "Guidance", "Sampling")


class OtherModel(Protocol):
    """A `Model` of the same data, which is guided away from."""

    denoiser: Denoiser
    spec: Spec
    parts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Guidance:
    """What samples are samples of, and how strongly.

    Args:
        cond: A class (name or number) or a text for all, or one for each; or a `Condition`. None: whatever the data hold.
        scale: Guidance scale: 0 ignores the condition, 1 is Bayes, above 1 sharpens. None: what is usual for the question.
        w: `scale - 1`, the convention of Ho & Salimans 2022; give one of the two.
        guide: What the scale weighs. None: this model with the class against itself without (classifier-free guidance); a
            `NoisyClassifier`: its gradient on this model without the class; another `Model`: this one against that weaker
            one, both with the class if there is one (autoguidance).
        interval: Guide only where sigma/alpha lies between these two (`undrift.Interval`). None: everywhere.
        rescale: Share, 0 to 1, of the way back to the contrast without guidance (`undrift.Mix`).

    Example:
        >>> Guidance(7, scale=2.0)
        Guidance(cond=7, scale=2.0)
    """

    cond: Asked = None
    scale: float | None = None
    w: float | None = None
    guide: NoisyClassifier | OtherModel | None = None
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __repr__(self) -> str:
        return _said(self)


@dataclass(frozen=True, eq=False)
class Sampling:
    """How samples are drawn. What is None is the model's own, or the method's.

    Args:
        sampler: A name or a `Sampler`.
        steps: How many.
        grid: The name of a grid of times.
        seed: Of all randomness: the same seed draws the same samples.

    Example:
        >>> Sampling("abm", steps=10)
        Sampling(sampler='abm', steps=10)
    """

    sampler: str | Sampler | None = None
    steps: int | None = None
    grid: str | None = None
    seed: int = 0

    def __repr__(self) -> str:
        return _said(self)


class GuidanceWords(TypedDict, total=False):
    """The fields of `Guidance` but the condition, as keyword arguments."""

    scale: float | None
    w: float | None
    guide: NoisyClassifier | OtherModel | None
    interval: tuple[float, float] | None
    rescale: float


class Words(GuidanceWords, total=False):
    """The fields of `Guidance` and of `Sampling`, as keyword arguments."""

    sampler: str | Sampler | None
    steps: int | None
    grid: str | None
    seed: int


def guidance_of(cond: Asked, value: Guidance | None, given: Any) -> Guidance:
    """The guidance that was given as a value or in words, which are taken out of `given`. Raises ValueError for both."""
    return _merged(Guidance(cond), value, given, {} if cond is None else {"cond": cond}, "guidance")


def sampling_of(value: Sampling | None, given: Any) -> Sampling:
    """The same for how samples are drawn."""
    return _merged(Sampling(), value, given, {}, "sampling")


def none_left(given: Any, known: Sequence[str] = ()) -> None:
    """Raise TypeError for words that mean nothing here, with the nearest that does.

    Args:
        given: What is left of the keyword arguments.
        known: What else would have been understood.
    """
    _refuse(given, [*(f.name for kind in (Guidance, Sampling) for f in fields(kind)), "guidance", "sampling", *known])


def check_words(given: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Raise TypeError for words that a function of the flow does not take by name, with the nearest that it does, or `Guidance`."""
    takes = [p.name for p in signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    _refuse({k: v for k, v in given.items() if k not in takes}, [*takes, *(f.name for f in fields(Guidance))])


def _refuse(given: Mapping[str, Any], known: Sequence[str]) -> None:
    if given:
        name = next(iter(given))
        raise TypeError(f"`{name}` is no argument here{hint(name, list(dict.fromkeys(known)))}")


def _merged(usual: V, value: V | None, given: dict[str, Any], also: dict[str, Any], name: str) -> V:
    words = {f.name: given.pop(f.name) for f in fields(usual) if f.name in given} | also
    if value is None:
        return replace(usual, **words)
    instance(value, name, type(usual), f"give an undrift.{type(usual).__name__}")
    if words:
        raise ValueError(f"`{next(iter(words))}` is given by itself and `{name}` too: put all of it into {name}.")
    return value


def _said(value: Any) -> str:
    """A value with those of its fields that are not as usual."""
    parts = []
    for f in fields(value):
        given = getattr(value, f.name)
        if isinstance(given, (Tensor, np.ndarray)):
            parts.append(f"{f.name}={said(given)}")
        elif given is not f.default and given != f.default:
            parts.append(f"{f.name}={given!r}" if isinstance(given, (str, int, float)) else f"{f.name}={said(given)}")
    return f"{type(value).__name__}({', '.join(parts)})"


def as_numbers(x: Any, name: str = "x") -> Tensor:
    """Data as a user has them, a tensor of a type that torch computes with.

    Raises:
        UndriftError: they are no numbers, complex ones, or too large whole ones (`undrift.argument.tensor`).
    """
    try:
        return tensor(x, name)
    except (TypeError, ValueError) as error:
        raise UndriftError(str(error).rstrip(".")) from None


def named(what: str, name: str, table: dict[str, Any]) -> Any:
    if not isinstance(name, str) or name not in table:
        raise UndriftError(f'{what} "{short(name)}" is unknown{hint(short(name), table)}')
    return table[name]


def as_sampler(sampler: Any) -> Sampler:
    """A sampler, given itself or by name."""
    if isinstance(sampler, str):
        return named("sampler", sampler, SAMPLERS)
    return instance(sampler, "sampler", Sampler, "give a sampler, such as undrift.ABM(), or the name of one")


def each_of(cond: Any, n: int, what: str) -> list[Any]:
    """What was asked for, one for each sample.

    Raises:
        UndriftError: it is neither one nor a row of them.
        TypeError: a set, which has no order.
        ValueError: another number of them than there are samples.
    """
    if isinstance(cond, (Tensor, np.ndarray)):
        cond = as_numbers(cond, "cond") if isinstance(cond, Tensor) else cond
        if cond.ndim > 1:
            raise UndriftError(
                f"`cond` has shape {tuple(cond.shape)}; give one of the {what} for all samples, or one each: ({n},)"
            )
        cond = cond.tolist()
    if isinstance(cond, (set, frozenset)):
        raise TypeError(f"`cond` is a {type(cond).__name__}, which has no order: give the {what} in a list.")
    if isinstance(cond, (str, bytes, Mapping)) or not isinstance(cond, Iterable):
        return [cond] * n
    each = list(islice(cond, n + 1))
    if len(each) != n:
        found = len(each) if len(each) < n else len(cond) if isinstance(cond, Sized) else f"more than {n}"
        raise ValueError(f"`cond` names {found} {what} for {n} samples: give one for all, or one each.")
    return each
