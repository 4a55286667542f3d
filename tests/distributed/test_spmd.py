"""What processes that run the same program do together: rows, errors, files, and who speaks."""

import time

import pytest
import torch

from several import assert_well, command, ended, log
from undrift.distributed.processes import Processes
from undrift.error import UndriftError

ROWS = """
import torch
from undrift.distributed.processes import here, joined
found = []
with joined() as processes:
    for n in (1, 2, 3, 7, 64):
        for dtype in (torch.float32, torch.uint8, torch.int64):
            job = lambda rows: torch.arange(n, dtype=dtype)[rows, None].expand(-1, 2) + (1 if n < 3 else 0)
            assert torch.equal(processes.shared(n, job), job(slice(0, n)))
    job = lambda rows: torch.arange(5.0)[rows] + processes.rank  # which process has done which row
    found.append(processes.shared(5, job).tolist())
    found += [processes.largest(float(processes.rank)), processes.broadcast(float(processes.rank) + 4)]
    with processes.one_first():
        found.append(here().size)
    with joined() as also:
        found.append(also is processes)
print(found, here().size)
"""


def test_rows_are_shared_out_and_gathered_in_all():
    ends = ended(command(3, program=("-c", ROWS)))
    assert_well(ends)
    assert [said.strip() for _, said, _ in ends] == ["[[0.0, 2.0, 3.0, 5.0, 6.0], 2.0, 4.0, 1, True] 1"] * 3


ERROR = """
import sys, torch
from undrift.distributed.processes import joined
from undrift.error import UndriftError
said = []
with joined() as processes:
    for kind in (UndriftError, ValueError, RuntimeError, MemoryError, KeyError):
        def job(rows):
            if rows.start >= 2:  # the rows of the last two processes
                raise kind(f"wrong in row {rows.start}")
            return torch.zeros(1)
        try:
            processes.shared(4, job)
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    processes.barrier()  # they go on together
print(*said, sep="; ")
"""


def test_an_error_in_one_share_is_the_same_error_in_all():
    ends = ended(command(4, program=("-c", ERROR)))
    assert_well(ends)
    kinds = ("UndriftError: ", "ValueError: ", "RuntimeError: ", "MemoryError: ", "RuntimeError: KeyError: 'wrong in row 2'")
    expected = "; ".join(kind + ("" if "row" in kind else "wrong in row 2") for kind in kinds)
    assert [said.strip() for _, said, _ in ends] == [expected] * 4


WRITE = """
import sys
from pathlib import Path
import numpy as np, torch
from undrift.distributed.processes import joined
from undrift.storage import append, write_array, write_text
from undrift.tensorfile import save_tensors
place = Path(sys.argv[1])
with joined() as processes:
    folder = place / ("all" if processes.first else "none")  # what the others write would be seen there
    print("only the first is heard")
    write_text(folder / "text", "x")
    append(folder / "text", b"y")
    save_tensors(folder / "x.safetensors", {"x": torch.zeros(3)})
    write_array(folder / "x.npy", (2,), [np.zeros(1), np.ones(1)])
"""


def test_only_the_first_writes_and_speaks(tmp_path):
    ends = ended(command(2, tmp_path, program=("-c", WRITE)))
    assert_well(ends)
    assert [said for _, said, _ in ends] == ["only the first is heard\n", ""]
    assert not (tmp_path / "none").exists()
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["text", "x.npy", "x.safetensors"]
    assert (tmp_path / "all" / "text").read_text() == "xy"


FAIL = """
import sys, time
from undrift.distributed.processes import Left, Lost, joined
from undrift.error import UndriftError
who = int(sys.argv[1])
try:
    with joined() as processes:
        if processes.rank == who or who < 0:
            raise UndriftError("out of luck")
        if processes.rank == 1 and who == 0:
            time.sleep(2)  # busy with something else
        processes.barrier()
except (Left, UndriftError) as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(("who", "said"), [
    (-1, ["UndriftError: out of luck", "Left: ", "Left: "]),  # all alike: one says it
    (0, ["UndriftError: out of luck", "Left: ", "Left: "]),
    (2, ["Lost: another process of this run is gone", "Left: ", "UndriftError: out of luck"]),
])  # fmt: skip
def test_nobody_waits_for_one_that_has_failed(who, said):
    begun = time.monotonic()
    ends = ended(command(3, who, program=("-c", FAIL)))
    assert time.monotonic() - begun < 60
    assert [error for *_, error in ends] == ["", "", ""]
    for (_, found, _), expected in zip(ends, said, strict=True):
        assert found.startswith(expected) and found.count("\n") == 1


SAME = """
import sys
from undrift.distributed.processes import joined
with joined() as processes:
    processes.same("weather", "fine")
    processes.same("weather", "fine" if processes.rank != 1 else "rain")
"""


def test_processes_that_see_different_things_are_told():
    for rank, (code, _, error) in enumerate(ended(command(2, program=("-c", SAME)))):
        assert code == 1 and ("process 1 of 2 has weather other than process 0" in error) == (rank == 0)


def test_one_process_does_all_of_it():
    alone = Processes()
    assert torch.equal(alone.shared(3, lambda rows: torch.arange(3)[rows]), torch.arange(3))
    assert (alone.largest(2.0), alone.broadcast(3.0)) == (2.0, 3.0)
    with pytest.raises(UndriftError, match="as it is"):
        alone.all_well(UndriftError("as it is"))


FIT = """
import sys
import torch
import undrift as ud
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.SiLU(), torch.nn.Linear(32, 2))
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x, level, cond=None):
        return self.net(torch.cat([x, level[:, None]], 1))
x, steps, records = torch.randn(400, 2) * torch.tensor([1.0, 3.0]), [], []
model = ud.fit(Net(), x, steps=40, folder=sys.argv[1], batch_size=25, warmup=5, device="cpu", monitor_every=10, snapshots=0,
    checkpoint_every=10, log_every=1, sample_every=20, quality_every=20, progress=False, logger=records.append,
    callback=lambda report: steps.append(report.loss) or report.step == 30)
print(len(steps), len(records) > 30, *steps, *(float(p.double().norm()) for p in model.denoiser.parameters()))
"""


def test_fit_is_the_same_training_in_any_number_of_processes(tmp_path):
    found = []
    for n in (1, 3):
        ends = ended(command(n, tmp_path / str(n), program=("-c", FIT)))
        assert_well(ends)
        found += [said.split() for _, said, _ in ends]
    one, *several = found
    assert one[:2] == ["30", "True"]  # a callback stops it
    assert [words[:2] for words in several] == [["30", "True"], ["30", "False"], ["30", "False"]]  # one of them logs
    for words in several:
        assert words[2:] == several[0][2:]  # what each returns is the same to the bit
        assert [float(w) for w in words[2:]] == pytest.approx([float(w) for w in one[2:]], rel=1e-4)
    logs = [[r["held_out"] for r in log(tmp_path / str(n)) if "held_out" in r] for n in (1, 3)]
    assert len(logs[0]) == 4 and logs[1] == pytest.approx(logs[0], rel=1e-4)
