"""log.jsonl: what a run says of itself, one JSON object a line, each with its `step`.

    step, loss, batch_loss, grad_norm, weight_norm, learning_rate        every `log_every` steps
        loss_scale, skipped                                              in float16: the scale of the loss, steps skipped so far
    step, held_out, ...                                                  every `monitor_every` steps; see `monitor`
    step, floor | quality | diverged | ended                             now and then

All of it is a function of the recipe and the data, except what stands under `clock` (seconds, speed, memory): a run that was
killed and taken up again leaves the same lines as one that was not, but for their clocks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, model_validator

from undrift.error import OutputError
from undrift.schema import Facts, Text, parse_json, validated
from undrift.storage import append, open_file, read_text, reason, write_text

NAME = "log.jsonl"


class Log:
    """The log of a run that is at work.

    Args:
        folder: The run's.
        step: How far its state is. Lines of later steps were written by a session that was killed; they are taken out (atomically),
            to be written again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / NAME
        try:
            text = _text(folder)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read ({reason(error)}); move it away") from None
        self.records = [record for record in parse(text) if record["step"] <= step]
        kept = "".join(line(record) for record in self.records)
        if kept != text:
            write_text(self.path, kept)

    def add(self, record: dict[str, Any]) -> None:
        """Add a line. Raises OutputError if it cannot."""
        self.records.append(record)
        try:
            append(self.path, line(record).encode())
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {reason(error)}; make room or mend the folder, then run the same command again: "
                "it goes on from the last state"
            ) from None

    def flush(self) -> None:
        """Make what was added last through a power cut: before a state is written that counts on it."""
        if self.path.is_file():
            with open_file(self.path) as handle:
                os.fsync(handle.fileno())


def line(record: dict[str, Any]) -> str:
    """One line of the log."""
    return json.dumps(record) + "\n"


def parse(text: str) -> list[dict[str, Any]]:
    """The records of a log; half a line, as a kill leaves it, is passed over, and so is one that holds anything else than a record."""
    records = []
    for each in text.splitlines():
        try:
            record = parse_json(each)
            validated(record, _RECORD)
        except ValueError:
            continue
        records.append(record)
    return records


Figure = Annotated[float, Field(ge=-1e300, le=1e300)] | None  # None: not finite
Figures = dict[str, Figure]
Level = Annotated[list[Figure], Field(min_length=6, max_length=6)]


class Cause(Facts):
    """Of a divergence: see `autopsy`."""

    what: Text
    log_snr: Figure
    layer: Text
    of: Text


class Record(Facts):
    """A line of the log, as it was written. What is written together is there together."""

    step: Annotated[int, Field(ge=0, le=2**53)]
    clock: dict[str, Annotated[float, Field(ge=-1e300, le=1e300)]] = {}
    floor: Figures = {}
    quality: Figures = {}
    diverged: Cause | None = None
    ended: Text = ""
    levels: list[Level] = []
    loss: Figure = None
    batch_loss: Figure = None
    grad_norm: Figure = None
    weight_norm: Figure = None
    learning_rate: Figure = None
    loss_scale: Figure = None
    skipped: Figure = None
    examples: Annotated[int, Field(ge=1, le=2**53)] | None = None
    held_out: Figure = None
    held_out_error: Figure = None
    held_out_raw: Figure = None
    trained_on: Figure = None
    class_gain: Figure = None
    class_gain_error: Figure = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for together in _TOGETHER:
            missing = together - self.model_fields_set
            if missing and missing != together:
                raise ValueError(f"{min(missing)} is missing")
        return self


_TOGETHER = (
    {"held_out", "held_out_error", "held_out_raw", "trained_on"},
    {"class_gain", "class_gain_error"},
)
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, also of one that is at work.

    Raises:
        OSError: there is a log that cannot be read.
    """
    return parse(_text(folder))


def damaged_lines(folder: Path) -> int:
    """How many whole lines of a log are no records. Half a line at the end is one that is being written. Raises as `read_log`."""
    whole = _text(folder).splitlines(keepends=True)
    return sum(1 for each in whole if each.endswith("\n") and each.strip() and not parse(each))


def _text(folder: Path) -> str:
    try:
        return read_text(folder / NAME, 2**28, errors="replace")
    except FileNotFoundError:
        return ""
