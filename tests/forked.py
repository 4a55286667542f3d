"""Real processes that begin where torch is loaded already: a test that is not about starting Python does not wait for it.

A server (Python's forkserver) imports what every command needs, once, and forks a process for each that is asked for. Each has its own
environment, its own standard output and error, the usual signal handlers, and an exit code, as a fresh one has.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress

PRELOAD = [
    "undrift.cli", "undrift.cli.command.train", "undrift.cli.drawing", "undrift.training.session", "undrift.distributed.processes",
    "torch._dynamo", "torch.distributed.nn.functional",
]  # fmt: skip


class Forked:
    """What `subprocess.Popen` has, as far as it is used here: `pid`, `returncode`, `send_signal`, `kill`, `communicate`.

    Args:
        words: What stands in `sys.argv` behind the program.
        env: The environment.
        code: A program text; by default the command line.
    """

    def __init__(self, words, env, code=None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self.folder = tempfile.TemporaryDirectory(prefix="forked-")
        self.files = [os.path.join(self.folder.name, name) for name in ("out", "err")]
        for file in self.files:
            open(file, "w").close()
        self.process = context.Process(target=_run, args=(list(map(str, words)), env, self.files, code))
        self.process.start()
        self.pid, self.returncode = self.process.pid, None

    def communicate(self, timeout=None):
        """Wait for its end; what it wrote to both streams."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("forked", timeout)
        self.returncode = self.process.exitcode
        return tuple(open(file, errors="replace").read() for file in self.files)

    def send_signal(self, number):
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self):
        """End it, if it is still there."""
        if self.process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _run(words, env, files, code):
    os.environ.clear()
    os.environ.update(env)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for stream, file in enumerate(files, 1):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    import torch

    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", torch.get_num_threads())))
    sys.argv = ["-c" if code else "undrift", *words]
    end = 0
    try:
        if code is None:
            from undrift.cli import run

            run()
        else:
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        end = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        end = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end)


def run(words, env=None, code=None, timeout=300):
    """As `subprocess.run` with its output captured as text."""
    process = Forked(words, dict(os.environ) if env is None else env, code)
    try:
        said, error = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, process.returncode, said, error)
