"""Who a process is, from the environments that launchers make."""

import pytest

from undrift.distributed.launcher import Place, first_host, place
from undrift.error import UndriftError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS",
    "SLURM_LOCALID", "SLURM_NODELIST", "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_JOB_ID")  # fmt: skip
TORCHRUN = {"RANK": 3, "WORLD_SIZE": 4, "LOCAL_RANK": 1, "MASTER_ADDR": "a", "MASTER_PORT": 29500}
SLURM = {"SLURM_PROCID": 3, "SLURM_NTASKS": 4, "SLURM_LOCALID": 1, "SLURM_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": 123456}


@pytest.fixture
def at(monkeypatch):
    """The place in an environment of these variables and no others."""

    def found(**variables):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return place()

    return found


def test_alone_unless_somebody_says_otherwise(at):
    assert at() == at(WORLD_SIZE=1) == at(WORLD_SIZE="") == at(RANK=0, WORLD_SIZE=1, MASTER_ADDR="a") == Place()
    assert at(**SLURM | {"SLURM_NTASKS": 1, "SLURM_PROCID": 0}) == Place()
    assert at(**SLURM, WORLD_SIZE=1) == Place()  # a plain command in the script of a job with several tasks


def test_torchrun_and_accelerate(at):
    assert at(**TORCHRUN) == Place(3, 4, 1, "a", 29500, "torchrun")
    assert at(**TORCHRUN, **SLURM | {"SLURM_PROCID": 0}) == Place(3, 4, 1, "a", 29500, "torchrun")  # torchrun in a SLURM job


def test_slurm(at):
    assert at(**SLURM) == Place(3, 4, 1, "gpu07", 20_000 + 3456, "srun")
    assert at(**SLURM, MASTER_ADDR="b", MASTER_PORT=1234) == Place(3, 4, 1, "b", 1234, "srun")
    assert at(**SLURM, SLURM_STEP_NUM_TASKS=5, SLURM_STEP_NODELIST="gpu08").size == 5  # a step of the job counts, not the job
    assert at(**SLURM, SLURM_STEP_NODELIST="gpu08").host == "gpu08"
    assert at(**SLURM, WORLD_SIZE=8).size == 8  # set by the user's script, as for torch


@pytest.mark.parametrize(("nodes", "first"), [
    ("node7", "node7"), ("node[03-07,9],login", "node03"), ("a1,a2", "a1"), ("gpu-a[2,4-6]", "gpu-a2"),
    ("rack[1-2]node[3-4].local,x", "rack1node3.local"), ("[10-12]", "10"), ("", ""),
])  # fmt: skip
def test_the_first_name_of_a_list_of_nodes(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(("wrong", "message"), [
    ({"RANK": None}, "this one has no number: RANK"), ({"RANK": 4}, "this one has number 4: RANK .* from 0 to 3"),
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two .* is not a number"), ({"WORLD_SIZE": 0}, "WORLD_SIZE=0 .* is not a number"),
    ({"MASTER_ADDR": None}, "MASTER_ADDR .* does not say"), ({"MASTER_PORT": None}, "MASTER_PORT .* does not say"),
    ({"RANK": -1}, "RANK=-1 .* is not a number"),
])  # fmt: skip
def test_nonsense_is_said(at, wrong, message):
    with pytest.raises(UndriftError, match=message):
        at(**{k: v for k, v in (TORCHRUN | wrong).items() if v is not None})
