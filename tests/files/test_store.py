"""Files appear whole or not at all, open in xarray, and are refused when anything is wrong with them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import re
import struct
import subprocess
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
import yaml
from example_files import CELL, PROVENANCE, TIMES, forge, outputs, write_shard
from runs import TINY

from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable, store
from rnnlimits.files.provenance import FIELDS
from rnnlimits.study import loads
from rnnlimits.training.plan import study_id

KIND = "train-shard"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shard(tmp_path / "demo", 0, 4)


def refusal(path: Path, kind: str | None = KIND, **expected: object) -> str:
    """The line that a reader gets; it must be one line and name the file."""
    with pytest.raises(StudyError) as caught, store.open_complete(path, kind, **expected):
        pass
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


# -------------------------------------------------------------------------------------------- what is written


def test_a_failure_within_hdf5_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    says = r"a\.h5: HDF5 could not write it \(Unable to lock\); nothing was written"
    with pytest.raises(StudyError, match=says), store.atomic_h5(path, "test", {}):
        raise RuntimeError("Unable to lock")
    with pytest.raises(RuntimeError, match="ours"), store.atomic_h5(path, "test", {}):
        raise RuntimeError("ours")
    assert not path.exists()


def test_values_and_attributes_come_back(shard: Path) -> None:
    with store.open_complete(shard, KIND, cell_id=CELL["cell_id"], width=64) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 4))
        assert list(file["note"].values()) == [f"run {row} é" for row in range(4)]
        assert file["floor"][()] == 0.25
        assert file["output"].dims == ("replica", "time", "probe")
        assert dict(file["output"].attrs)["units"] == "1"
        assert {name: store.attribute_of(file, name) for name in PROVENANCE} == PROVENANCE


def test_xarray_opens_a_file_with_coordinates_and_units(shard: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(shard, engine="h5netcdf") as found:
            assert found.output.dims == ("replica", "time", "probe")
            assert set(found.coords) == {"replica", "time", "probe"}
            np.testing.assert_array_equal(found.time, TIMES)
            np.testing.assert_array_equal(found.probe, np.arange(5))
            assert found.output.attrs["long_name"] == "output on probe histories"
            assert found.run_seconds.attrs["units"] == "s"
            assert found.run_seconds.dtype == np.float64
            assert found.attrs["study"] == "demo"
            np.testing.assert_array_equal(found.output.sel(time=1.0), outputs(0, 4)[:, 1])


@pytest.mark.parametrize(
    ("values", "dims", "dtype", "image"),
    [
        (np.array([[1.5, -0.0], [np.nan, 2.0]]), ("a", "b"), "<f8", None),
        (np.array([1.5, 2.5], dtype=">f4"), ("a",), "<f4", struct.pack("<2f", 1.5, 2.5)),
        ([True, False, True], ("a",), "|u1", b"\1\0\1"),
        (7, (), "<i8", struct.pack("<q", 7)),
        (["ab", "é", ""], ("a",), "str", b"".join(struct.pack("<q", len(t)) + t for t in (b"ab", "é".encode(), b""))),
        (np.zeros((3, 0)), ("a", "b"), "<f8", b""),
    ],
)
def test_digest_is_the_documented_one(
    tmp_path: Path, values: object, dims: tuple[str, ...], dtype: str, image: bytes | None
) -> None:
    """Recomputed from the definition with hashlib alone."""
    with store.atomic_h5(tmp_path / "a.h5", "test", {}) as file:
        found = store.put(file, "v", values, dims, "1", "a value").attrs["digest"]
    shape = ",".join(map(str, np.shape(values)))
    image = np.asarray(values).tobytes() if image is None else image
    variable = hashlib.sha256(f"{dtype} {shape}\n".encode() + image).hexdigest()
    assert found == variable
    scales = {
        dim: hashlib.sha256(f"<i8 {n}\n".encode() + np.arange(n).tobytes())
        for dim, n in zip(dims, np.shape(values), strict=True)
    }
    lines = sorted([f"v {variable}\n", *(f"{dim} {scale.hexdigest()}\n" for dim, scale in scales.items())])
    assert store.digest_of(tmp_path / "a.h5") == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_digest_ignores_time_stamps_storage_and_timings_but_no_value(tmp_path: Path) -> None:
    one = write_shard(tmp_path / "one", 0, 4, created="2024-01-01T00:00:00+00:00")
    two = write_shard(tmp_path / "two", 0, 4, created="2025-01-01T00:00:00+00:00")
    assert one.read_bytes() != two.read_bytes()
    assert store.digest_of(one) == store.digest_of(two)
    forge(two, lambda file: file["output"].__setitem__((0, 0, 0), np.nextafter(file["output"][0, 0, 0], 9)))
    assert store.digest_of(one) != store.digest_of(two)


@pytest.mark.parametrize("compressible", [True, False])
def test_large_variables_are_chunked_and_compressed_where_it_pays(tmp_path: Path, compressible: bool) -> None:
    noise = np.random.default_rng(3).standard_normal((64, 40, 50))
    values = np.round(noise) if compressible else noise
    with store.atomic_h5(tmp_path / "a.h5", "test", {}) as file:
        digest = store.put(file, "v", values, ("a", "b", "c"), "1", "a value").attrs["digest"]
    with h5py.File(tmp_path / "a.h5") as stored:
        assert stored["v"].chunks[1:] == (40, 50)
        assert (stored["v"].compression == "gzip") is compressible
    with store.open_complete(tmp_path / "a.h5", "test") as file:
        np.testing.assert_array_equal(file["v"][()], values)
        assert file["v"].attrs["digest"] == digest


def test_xarray_opens_a_file_with_empty_dimensions(tmp_path: Path) -> None:
    """Rates without points, say."""
    with store.atomic_h5(tmp_path / "a.h5", "test", {}) as file:
        store.put(file, "v", np.zeros((0, 3)), ("point", "x"), "1", "a value")
        store.put(file, "t", [], ("point",), "1", "a value")
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as found:
        assert dict(found.sizes) == {"point": 0, "x": 3}
    assert len(store.digest_of(tmp_path / "a.h5")) == 64


def test_provenance_says_what_made_a_file() -> None:
    study = loads(yaml.safe_dump(TINY), "tiny.yaml")
    found = store.provenance(study, ["rnnlimits", "train", "a file.yaml"])
    assert tuple(found) == FIELDS
    assert study_id(loads(str(found["study_yaml"]), "again.yaml")) == study_id(study)
    assert found["study_id"] == study_id(study)
    assert found["command_line"] == "rnnlimits train 'a file.yaml'"
    written = datetime.fromisoformat(str(found["created"]))
    assert abs((datetime.now(UTC) - written).total_seconds()) < 60
    assert re.fullmatch(r"unknown|[0-9a-f]{40}(-dirty)?", str(found["git_commit"]))


@pytest.mark.parametrize(
    ("name", "values", "dims", "units", "error"),
    [
        ("v", np.zeros((2, 3)), ("a",), "1", "name the axes"),
        ("v", np.zeros((2, 2)), ("a", "a"), "1", "name the axes"),
        ("v", np.zeros(3), ("first",), "1", "length 3 here, 2 elsewhere"),
        ("v", np.zeros(2), ("first",), "seconds", "write s"),
        ("v", np.zeros(2), ("first",), "", "units"),
        ("v", np.zeros(2, dtype=complex), ("first",), "1", "complex"),
        ("v", np.array([None, 1]), ("first",), "1", "object"),
    ],
)
def test_mistakes_of_a_caller_are_errors_and_leave_nothing(
    tmp_path: Path, name: str, values: np.ndarray, dims: tuple[str, ...], units: str, error: str
) -> None:
    with (  # noqa: PT012
        pytest.raises((ValueError, TypeError), match=error),
        store.atomic_h5(tmp_path / "a.h5", "test", {}) as file,
    ):
        store.put(file, "other", np.zeros(2), ("first",), "1", "another")
        store.put(file, name, values, dims, units, "a value")
    assert list(tmp_path.iterdir()) == []


def test_a_variable_not_put_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not written with put"), store.atomic_h5(tmp_path / "a.h5", "t", {}) as file:
        file["bare"] = 1.0


# ----------------------------------------------------------------------------------------------- whole or not


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.h5"
    with store.atomic_h5(path, "test", {}) as file:
        store.put(file, "v", 1.0, (), "1", "a value")
        assert list(path.parent.iterdir()) == []
    assert list(path.parent.iterdir()) == [path]


def test_a_body_that_raises_keeps_the_old_file(shard: Path) -> None:
    before = shard.read_bytes()
    with pytest.raises(ZeroDivisionError), store.atomic_h5(shard, KIND, {}):
        raise ZeroDivisionError
    assert shard.read_bytes() == before
    assert list(shard.parent.iterdir()) == [shard]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_an_error_of_the_disk_is_one_line_and_leaves_nothing(
    shard: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    before = shard.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable.os, call, fail)
    with pytest.raises(StudyError) as caught:
        write_shard(shard.parents[2], 0, 4, created="later")
    monkeypatch.undo()
    assert str(shard) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert shard.read_bytes() == before
    assert list(shard.parent.iterdir()) == [shard]


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_write = os.write
    monkeypatch.setattr(durable.os, "write", lambda fd, data: whole_write(fd, data[:1000]))
    path = write_shard(tmp_path, 0, 4)
    with store.open_complete(path, KIND) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 4))


def test_a_folder_that_is_a_file_is_refused_before_the_body_runs(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(StudyError, match=r"results.*(Not a directory|File exists)"):
        write_shard(tmp_path / "results" / "demo", 0, 4)


def test_files_get_the_users_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        path = write_shard(tmp_path, 0, 4)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skipped where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.needs_root
def test_a_full_disk_keeps_what_is_finished(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    finished = write_shard(small_disk, 0, 4)
    digest = store.digest_of(finished)
    with (
        pytest.raises(StudyError, match=r"No space left on device.*free some space") as caught,
        store.atomic_h5(small_disk / "big.h5", KIND, {}) as file,
    ):
        store.put(file, "v", np.random.default_rng(1).random(100_000), ("a",), "1", "noise")
    assert str(small_disk / "big.h5") in str(caught.value)
    assert {path.name for path in small_disk.iterdir()} == {"shards"}
    assert store.digest_of(finished) == digest
    assert capfd.readouterr() == ("", "")


@pytest.mark.needs_root
def test_a_read_only_disk_is_refused_before_the_body_runs(small_disk: Path) -> None:
    shard = write_shard(small_disk, 0, 4)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StudyError, match="not writable"), store.atomic_h5(shard, KIND, {}):
        pytest.fail("the body ran")
    with pytest.raises(StudyError, match="Read-only file system"), store.atomic_h5(small_disk / "n" / "a.h5", KIND, {}):
        pytest.fail("the body ran")
    with store.open_complete(shard, KIND):
        pass


# --------------------------------------------------------------------------------------------- what is refused


def test_a_missing_file(tmp_path: Path) -> None:
    assert "is missing; run the command" in refusal(tmp_path / "none.h5")
    (tmp_path / "file").touch()
    assert "is missing" in refusal(tmp_path / "file" / "none.h5")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")  # reading it would wait for ever
    assert "is not a file" in refusal(tmp_path / "pipe.h5")
    assert "is not a file" in refusal(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.h5").touch()
    assert "is empty (0 bytes); delete it and run the same command again" in refusal(tmp_path / "a.h5")


def test_another_sort_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("replica,output\n0,1.5\n" * 50)
    assert "is not an HDF5 file" in refusal(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 1.0
    assert "is not a file of this software (no attribute format" in refusal(tmp_path / "b.h5")


def test_a_file_cut_anywhere(shard: Path) -> None:
    whole = shard.read_bytes()
    for length in [*range(1, len(whole), 89), *range(len(whole) - 120, len(whole))]:
        shard.write_bytes(whole[:length])
        assert "delete it and run the same command again" in refusal(shard), length


def test_a_file_with_any_byte_changed(shard: Path) -> None:
    whole = shard.read_bytes()
    places = random.Random(5)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[places.randrange(len(whole))] ^= 1 << places.randrange(8)
        shard.write_bytes(damaged)
        assert "delete it and run the same command again" in refusal(shard)


def test_a_file_that_another_program_changed(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["output"][0] = 1.0
    assert "was changed after it was written" in refusal(shard) or "is damaged" in refusal(shard)


@pytest.mark.parametrize(
    ("attribute", "value", "line"),
    [
        ("format", "other", "is not a file of this software (format other, expected rnnlimits)"),
        ("format_version", 99, "has format version 99, this software reads 1"),
        ("complete", 0, "is not complete"),
        ("kind", "draw", "is not the right file (kind draw, expected train-shard)"),
        ("cell_id", "0000", "is from another study (cell_id 0000, expected ba9876543210)"),
        ("width", 32, "(width 32, expected 64)"),
        ("width", "x\n\x1b[31m" * 99, "(width x??[31mx"),
        ("cell_id", [1, 2], "is not safe to read: attribute cell_id is not a scalar"),
    ],
)
def test_a_file_that_is_not_the_one_wanted(shard: Path, attribute: str, value: object, line: str) -> None:
    forge(shard, lambda file: file.attrs.__setitem__(attribute, value))
    assert line in refusal(shard, cell_id=CELL["cell_id"], width=64)


@pytest.mark.parametrize("attribute", ["format", "format_version", "complete", "kind", "cell_id"])
def test_a_file_without_an_attribute(shard: Path, attribute: str) -> None:
    forge(shard, lambda file: file.attrs.__delitem__(attribute))
    refusal(shard, cell_id=CELL["cell_id"])


def _cycle(file: h5py.File) -> None:
    file.create_group("group")["again"] = file["/"]


def _absurd(file: h5py.File) -> None:
    file.create_dataset("huge", shape=(10**6, 10**6), dtype="f8", chunks=(1000, 1000))


def _unallocated(file: h5py.File) -> None:
    file.create_dataset("huge", shape=(10**6, 10**6), dtype="f8")


def _strange_filter(file: h5py.File) -> None:
    file.create_dataset("bomb", data=np.zeros((1000, 500)), chunks=(1000, 500), compression="lzf")


def _outside(file: h5py.File) -> None:
    Path(file.filename).with_name("secret").write_bytes(b"x" * 80)
    file.create_dataset("stolen", shape=(10,), dtype="f8", external=[("secret", 0, 80)])


def _virtual(source: str) -> object:
    def edit(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(source, "v", (4,))
        file.create_virtual_dataset("v", layout)

    return edit


def _pattern(file: h5py.File) -> None:
    """Sources part-0.h5, part-1.h5, ... for as many as there are."""
    whole = h5py.h5s.create_simple((4,), (h5py.h5s.UNLIMITED,))
    blocks = whole.copy()
    blocks.select_hyperslab((0,), (h5py.h5s.UNLIMITED,), stride=(2,), block=(2,))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(blocks, b"part-%b.h5", b"v", h5py.h5s.create_simple((2,)))
    h5py.h5d.create(file.id, b"v", h5py.h5t.IEEE_F64LE, whole, properties)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/")), "/a is a soft or external link"),
        (lambda file: file.__setitem__("a", h5py.SoftLink("/output")), "/a is a soft or external link"),
        (lambda file: file.__setitem__("a", np.dtype("f8")), "/a is neither a group nor a variable"),
        (lambda file: file.__setitem__("a", np.zeros(2, dtype="f8,i4")), "/a has the type"),
        (lambda file: file.__setitem__("a", h5py.Empty("f8")), "/a has the type"),
        (lambda file: file.__setitem__("a", file["output"]), "linked twice"),
        (_cycle, "linked twice"),
        (_absurd, "/huge declares 1000000 x 1000000 values but 0 bytes are stored"),
        (_unallocated, "/huge declares 1000000 x 1000000 values but 0 bytes are stored"),
        (_strange_filter, "/bomb is stored through a filter"),
        (_outside, "/stolen keeps its values in another file"),
        (_virtual("/etc/hostname"), "which is not a relative path"),
        (_pattern, "which is not a relative path"),
        (_virtual("."), "which is not a relative path"),
        (_virtual("../../../other.h5"), "takes values from ../../../other.h5, outside"),
    ],
)
def test_a_hostile_file(shard: Path, edit: object, line: str) -> None:
    forge(shard, edit)
    assert line in refusal(shard)


def test_a_link_below_the_shards_that_leads_out_is_not_followed(shard: Path, tmp_path: Path) -> None:
    secret = write_shard(tmp_path / "elsewhere", 0, 4)
    (shard.parent / "link.h5").symlink_to(secret)
    forge(shard, _virtual("link.h5"))
    assert "outside" in refusal(shard)


def test_damage_met_while_reading_is_one_line(tmp_path: Path) -> None:
    """A chunk whose checksum is wrong, in a file whose seal is right."""
    path = tmp_path / "a.h5"
    with store.atomic_h5(path, "test", {}) as file:
        store.put(file, "v", np.random.default_rng(1).random(50_000), ("a",), "1", "noise")
    with h5py.File(path) as file:
        place = file["v"].id.get_chunk_info(0).byte_offset

    def damage(file: h5py.File) -> None:
        name = file.filename
        file.close()
        with open(name, "r+b") as raw:
            raw.seek(place)
            raw.write(b"damage")

    forge(path, damage)
    with pytest.raises(StudyError, match=re.escape(f"{path}: is damaged")), store.open_complete(path, "test") as file:
        file["v"][()]


def test_an_error_of_the_reader_itself_passes(shard: Path) -> None:
    with pytest.raises(FileNotFoundError), store.open_complete(shard, KIND):
        shard.with_name("none").read_bytes()


def test_a_finished_file_opens_whatever_locks_it(shard: Path) -> None:
    """Some cluster file systems have no locks, and finished files never change."""
    with shard.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with store.open_complete(shard, KIND) as file:
            assert file["floor"][()] == 0.25


def test_a_finished_file_opens_while_xarray_has_it(shard: Path) -> None:
    """HDF5 refuses to open one file twice in a process with different locking."""
    with xarray.open_dataset(shard, engine="h5netcdf") as found, store.open_complete(shard, KIND) as file:
        assert file["floor"][()] == found.floor
