"""Freed memory is kept: the same pages serve the next block."""

import subprocess
import sys

import pytest

PROBE = """
import resource, sys
from undrift.cli.allocator import keep_freed_memory
print(keep_freed_memory())
import numpy as np
for _ in range(3):
    np.ones(2**22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**22)  # 32 MiB: 8,192 pages, or 16 huge ones
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
@pytest.mark.parametrize(
    ("variables", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}, False)]
)
def test_freed_memory_is_kept_unless_the_user_says_otherwise(variables, kept):
    out = subprocess.run([sys.executable, "-c", PROBE], env=variables, capture_output=True, text=True, check=True).stdout.split()
    if kept and out[0] == "False":
        pytest.skip("another C library")
    assert out[0] == str(kept)
    assert (int(out[1]) < 160) == kept
