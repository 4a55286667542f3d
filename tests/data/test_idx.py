"""The IDX format and the ways in which a file can be broken."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from undrift.data.idx import read_idx
from undrift.error import DataError


def idx(x):
    return struct.pack(f">I{x.ndim}I", 0x800 + x.ndim, *x.shape) + x.astype(np.uint8).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def write(folder, content, name="file"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_reads_raw_and_gzip_whatever_the_name(tmp_path, pack, name):
    path = write(tmp_path, pack(idx(IMAGES)), name)
    assert np.array_equal(read_idx(path, 3), IMAGES)
    labels = np.array([3, 1, 2], np.uint8)
    assert np.array_equal(read_idx(write(tmp_path, pack(idx(labels)), name), 1), labels)


def test_the_axes_are_big_endian_and_row_major(tmp_path):
    path = write(tmp_path, bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    assert read_idx(path, 3).tolist() == [[[1, 2, 3], [4, 5, 6]]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.integers(0, 75), zipped=st.booleans())
def test_cut_anywhere_is_an_error_that_names_the_file(tmp_path, keep, zipped):
    content = gzip.compress(idx(IMAGES)) if zipped else idx(IMAGES)
    with pytest.raises(DataError, match=r"file: .*cut short: expected \d+ bytes.*, found \d+; copy or download"):
        read_idx(write(tmp_path, content[: min(keep, len(content) - 1)]), 3)


def test_cut_in_half_says_how_much_is_there(tmp_path):
    with pytest.raises(DataError, match="the file is cut short: expected 76 bytes, found 38; copy or"):
        read_idx(write(tmp_path, idx(IMAGES)[:38]), 3)
    big = np.random.default_rng(0).integers(0, 256, (500, 28, 28), dtype=np.uint8)
    packed = gzip.compress(idx(big))
    with pytest.raises(DataError, match=r"gzip file is cut short: expected 392,016 bytes, found 1[89]") as caught:
        read_idx(write(tmp_path, packed[: len(packed) // 2]), 3)
    assert len(str(caught.value).splitlines()) == 1


def test_longer_than_the_header_says(tmp_path):
    with pytest.raises(DataError, match="goes on after the 76 bytes that its header says"):
        read_idx(write(tmp_path, idx(IMAGES) + b"\0"), 3)


def test_wrong_magic_number(tmp_path):
    path = write(tmp_path, idx(np.zeros(20, np.uint8)))
    with pytest.raises(DataError, match="0x00000801, which is the magic number of labels; expected 0x0"):
        read_idx(path, 3)
    with pytest.raises(DataError, match="wrong magic number 0x3c68746d; expected 0x00000801"):
        read_idx(write(tmp_path, b"<html>not found</html>"), 1)


def test_a_header_that_claims_too_much_costs_no_memory(tmp_path):
    path = write(tmp_path, struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0" * 100)
    with pytest.raises(DataError, match="expected 79,228,162,458,924,105,385,300,197,391 bytes, found 116"):
        read_idx(path, 3)


def test_empty(tmp_path):
    with pytest.raises(DataError, match="it is empty, its header says 0 x 28 x 28"):
        read_idx(write(tmp_path, struct.pack(">4I", 0x803, 0, 28, 28)), 3)


def test_corrupt_gzip(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    packed = bytearray(gzip.compress(idx(images)))
    flipped = packed.copy()
    flipped[-6] ^= 1  # the checksum
    with pytest.raises(DataError, match=r"the gzip file is corrupt .*CRC check failed"):
        read_idx(write(tmp_path, bytes(flipped)), 3)
    flipped = packed.copy()
    flipped[10] |= 0x06  # the kind of the first block: reserved
    with pytest.raises(DataError, match=r"the gzip file is corrupt .*invalid block type"):
        read_idx(write(tmp_path, bytes(flipped)), 3)


def test_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"nothing: cannot be read \(No such file or directory\)"):
        read_idx(tmp_path / "nothing", 3)
    with pytest.raises(DataError, match=r"cannot be read \(it is a folder\)"):
        read_idx(tmp_path, 3)
