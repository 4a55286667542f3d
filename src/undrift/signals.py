"""Ctrl-C and its relatives: asking a training to stop, and leaving one whose other processes do not answer."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from undrift.distributed.processes import Processes, Waiting, waiting

PATIENCE, LONGER = 5.0, 30.0  # seconds without an answer, after a signal, for the first process and for the others
_ENDS = ("SIGINT", "SIGTERM", "SIGHUP")
SIGNALS = tuple(getattr(signal, name) for name in _ENDS if hasattr(signal, name))


class Polite:
    """While active, Ctrl-C, SIGTERM and SIGHUP only ask: the step, the preview or the save in hand is finished first.

    A step cut in two would be saved as one that never happened. A second signal interrupts at once. One that was ignored before, as
    `nohup` does with SIGHUP, stays ignored.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Polite:
        here = threading.current_thread() is threading.main_thread()
        heard = [s for s in SIGNALS if here and signal.getsignal(s) is not signal.SIG_IGN]
        self._before: dict[int, Any] = {s: signal.signal(s, self._ask) for s in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Leaving:
    """While active, a signal ends this process even if it waits for another one that does not answer.

    Waiting for another process happens deep inside torch, where no handler of Python's is run. So a thread hears of the signal, and if
    for a while nothing comes of it, it holds the main thread where it is, lets `last` do what is left to do, and ends the process.

    Args:
        processes: This process among the others; alone it waits for nobody, and nothing is done.
        last: Called in that thread, such as to save; what it returns is the last word.
        code: The exit code.
    """

    def __init__(self, processes: Processes, last: Callable[[], str], code: int = 130) -> None:
        self.last, self.code = last, code
        self.patience = PATIENCE if processes.first else LONGER
        here = threading.current_thread() is threading.main_thread()
        self.active = processes.size > 1 and here and hasattr(os, "pipe")

    def __enter__(self) -> Leaving:
        if self.active:
            self._done = threading.Event()
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._listen, args=(waiting,), daemon=True, name="leaving")
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            self._done.set()
            signal.set_wakeup_fd(self._before)
            with suppress(OSError):
                os.write(self._write, b"\0")  # lets the thread look up
            self._thread.join()
            os.close(self._read)
            os.close(self._write)

    def _listen(self, wait: Waiting) -> None:
        while not self._done.is_set():
            heard = os.read(self._read, 64)
            if any(number in heard for number in SIGNALS):
                break
        last, since = wait.count, time.monotonic()
        while not self._done.wait(0.1):
            if wait.count != last:  # something was answered
                last, since = wait.count, time.monotonic()
            elif time.monotonic() - since > self.patience and wait.abandon(last):
                break
        if not wait.abandoned:
            return
        try:
            said = self.last()
        except Exception as error:  # there is nobody to hand it to
            said, self.code = str(error), 2
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            print(f"\nundrift: another process of this run does not answer; {said}", file=sys.stderr, flush=True)
        os._exit(self.code)
