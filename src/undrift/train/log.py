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
from typing import Any

from undrift.error import OutputError
from undrift.model import write_atomically

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
        text = self.path.read_text(errors="replace") if self.path.is_file() else ""
        self.records = [record for record in parse(text) if record["step"] <= step]
        kept = "".join(line(record) for record in self.records)
        if kept != text:
            write_atomically(self.path, lambda p: p.write_text(kept))

    def add(self, record: dict[str, Any]) -> None:
        """Add a line. Raises OutputError if it cannot."""
        self.records.append(record)
        try:
            with open(self.path, "a") as handle:
                handle.write(line(record))
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}; make room or mend the folder, then run the same command again: "
                "it goes on from the last state"
            ) from None

    def flush(self) -> None:
        """Make what was added last through a power cut: before a state is written that counts on it."""
        if self.path.is_file():
            with open(self.path, "rb") as handle:
                os.fsync(handle.fileno())


def line(record: dict[str, Any]) -> str:
    """One line of the log."""
    return json.dumps(record) + "\n"


def parse(text: str) -> list[dict[str, Any]]:
    """The records of a log; half a line, as a kill leaves it, is passed over, and so is one whose figures are none."""
    records = []
    for each in text.splitlines():
        try:
            record = json.loads(each)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int) and not _misread(record):
            records.append(record)
    return records


def _misread(record: dict[str, Any]) -> bool:
    """Whether a record holds anything else than what is written there, as after an edit by hand."""

    def figure(value: Any) -> bool:
        return value is None or isinstance(value, (int, float))

    def figures(value: Any) -> bool:
        return isinstance(value, dict) and all(map(figure, value.values()))

    def levels(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(row, list) and len(row) == 6 and all(map(figure, row)) for row in value)

    def words(value: Any) -> bool:
        return isinstance(value, str)

    def cause(value: Any) -> bool:
        return isinstance(value, dict) and {"what", "log_snr", "layer", "of"} <= {*value}

    kinds = {"clock": figures, "floor": figures, "quality": figures, "levels": levels, "diverged": cause, "ended": words}
    return not all(kinds.get(key, figure)(value) for key, value in record.items())


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, also of one that is at work. Raises OSError if there is a log that cannot be read."""
    path = folder / NAME
    return parse(path.read_text(errors="replace")) if path.is_file() else []
