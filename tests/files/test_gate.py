"""Every array that leaves the readers was really read, whatever HDF5, the file system or the environment do."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from example_files import CELL, forge, outputs, shard_path, without_list, write_ensemble, write_shard, write_shards

from rnnlimits.base.errors import StudyError
from rnnlimits.files import snapshot, store
from rnnlimits.files.ensembles import open_ensemble
from rnnlimits.files.reading import Unreadable
from rnnlimits.library import datasets
from rnnlimits.results.inspection import validate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results" / "100%b é" / "demo"


@pytest.fixture
def ensemble(root: Path) -> Path:
    return write_ensemble(root, write_shards(root))


@contextmanager
def few_files(room: int = 3) -> Iterator[None]:
    """A limit of open files that leaves room for so many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64 + len(os.listdir("/proc/self/fd")), hard))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(room):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


def refusal(call: Callable[[], object], kind: type[StudyError] = StudyError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def output_of(path: Path) -> np.ndarray:
    with open_ensemble(path, cell_id=CELL["cell_id"]) as file:
        return np.asarray(file["output"][()])


# ------------------------------------------------------------------------------------------- HDF5 cannot open a source


@pytest.mark.parametrize("older", [False, True])
def test_fewer_open_files_than_shards(root: Path, older: bool) -> None:
    """HDF5 itself gives NaN here, and says nothing."""
    path = write_ensemble(root, write_shards(root, 16, 2))
    path = without_list(path) if older else path
    with few_files():
        with h5py.File(path) as file:
            assert np.isnan(file["output"][()]).any()
        np.testing.assert_array_equal(output_of(path), outputs(0, 16))
        write_ensemble(root, [shard_path(root, first, 2) for first in range(0, 16, 2)])
        assert validate(root) == []


def test_a_prefix_of_virtual_sources_in_the_environment(ensemble: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDF5_VDS_PREFIX", "/nowhere")
    np.testing.assert_array_equal(output_of(ensemble), outputs(0, 8))


def test_a_driver_in_the_environment(ensemble: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDF5_DRIVER", "split")
    np.testing.assert_array_equal(output_of(ensemble), outputs(0, 8))


# ----------------------------------------------------------------------------------------------------------- selections


def test_selections_are_those_of_numpy(root: Path) -> None:
    """300 random ones over shards of unequal length."""
    path = write_ensemble(root, [write_shard(root, first, n) for first, n in ((0, 1), (1, 4), (5, 2), (7, 3))])
    whole, places = outputs(0, 10), np.random.default_rng(1)
    with open_ensemble(path) as file:
        for _ in range(300):
            axes = [_selection(places, length) for length in whole.shape[: places.integers(1, 4)]]
            found, expected = file["output"][tuple(axes)], whole[tuple(axes)]
            assert found.shape == expected.shape, axes
            np.testing.assert_array_equal(found, expected, err_msg=str(axes))


def _selection(places: np.random.Generator, length: int) -> int | slice:
    if places.integers(3) == 0:
        return int(places.integers(-length, length))
    first, last = sorted(places.integers(0, length + 1, 2).tolist())
    return slice(first, last, int(places.integers(1, length + 1)))


def test_rows_by_index_and_by_mask(ensemble: Path) -> None:
    whole, rows = outputs(0, 8), [5, 0, -1, 5]
    with open_ensemble(ensemble) as file:
        output = file["output"]
        np.testing.assert_array_equal(output[rows], whole[rows])
        np.testing.assert_array_equal(output[np.arange(8) % 3 == 1, -1], whole[np.arange(8) % 3 == 1, -1])
        np.testing.assert_array_equal(output[..., 0], whole[..., 0])
        np.testing.assert_array_equal(output[np.zeros(8, bool)], whole[:0])
        with pytest.raises(IndexError):
            output[8]


def test_values_kept_in_memory_are_the_same(ensemble: Path) -> None:
    with open_ensemble(ensemble) as file:
        file.load(["output", "pair"])
        np.testing.assert_array_equal(file["output"][1:7:2, -1], outputs(0, 8)[1:7:2, -1])
        assert file["output"][1:7:2, -1].flags.c_contiguous


# ------------------------------------------------------------------------------------------- files change while in use


@pytest.mark.parametrize("older", [False, True])
def test_a_shard_replaced_between_check_and_read(root: Path, ensemble: Path, older: bool) -> None:
    with open_ensemble(without_list(ensemble) if older else ensemble) as file:
        other = write_shard(root, 2, 2, created="later")
        forge(other, _other_values)
        assert f"{other.name}: was replaced" in refusal(lambda: file["output"][:, 0])


@pytest.mark.parametrize("older", [False, True])
def test_a_shard_with_other_values_of_the_same_shape(root: Path, ensemble: Path, older: bool) -> None:
    forge(shard_path(root, 2, 2), _other_values)
    path = without_list(ensemble) if older else ensemble
    assert "replaced" in refusal(lambda: output_of(path))


def test_a_shard_written_again_with_the_same_values(root: Path, ensemble: Path) -> None:
    write_shard(root, 2, 2, created="later")
    np.testing.assert_array_equal(output_of(ensemble), outputs(0, 8))


def test_a_shard_with_other_rows_of_the_same_cell(root: Path, ensemble: Path) -> None:
    shutil.copy(shard_path(root, 0, 2), shard_path(root, 2, 2))
    assert "replicas-00002-00003.h5: was replaced" in refusal(lambda: output_of(ensemble))


def test_a_byte_that_changed_in_a_shard_is_found_when_it_is_read(root: Path, ensemble: Path) -> None:
    shard = shard_path(root, 2, 2)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert f"{shard.name}: is damaged" in refusal(lambda: output_of(ensemble))


def _other_values(file: h5py.File) -> None:
    file["output"][0] += 1.0


def test_what_is_read_is_what_was_checked(root: Path) -> None:
    shard = write_shard(root, 0, 2)
    with store.open_complete(shard, "train-shard") as file:
        forge(shard, _other_values)
        np.testing.assert_array_equal(file["output"][()], outputs(0, 2))


def test_a_file_that_grows_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_shard(root, 0, 2)
    states = iter(range(100))
    monkeypatch.setattr(snapshot, "_state", lambda _: (shard.stat().st_size, next(states)))
    monkeypatch.setattr(snapshot, "PAUSE_SECONDS", 0.0)
    assert "changes while it is read" in refusal(lambda: store.digest_of(shard), Unreadable)


def test_a_file_whose_writer_is_quick(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_shard(root, 0, 2)
    states = iter([0, 1, *[2] * 100])
    monkeypatch.setattr(snapshot, "_state", lambda _: (shard.stat().st_size, next(states)))
    assert store.digest_of(shard)


# --------------------------------------------------------------------------------------------------- the system refuses


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOMEM, errno.ELOOP])
def test_an_error_of_the_system_in_the_middle(ensemble: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """It is no reason to delete anything."""
    whole = snapshot.os.open

    def fails(path: Path, flags: int) -> int:
        if "replicas-00004" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return whole(path, flags)

    with open_ensemble(ensemble) as file:
        monkeypatch.setattr(snapshot.os, "open", fails)
        line = refusal(lambda: file["output"][()], Unreadable)
    assert f"replicas-00004-00005.h5: cannot be read: {os.strerror(number)}" in line
    assert "delete" not in line


def test_too_little_memory(ensemble: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(snapshot, "image", fails)
    assert "not enough memory" in refusal(lambda: output_of(ensemble), Unreadable)


def test_a_pipe_or_a_folder_in_place_of_a_shard(root: Path, ensemble: Path) -> None:
    shard = shard_path(root, 2, 2)
    shard.unlink()
    os.mkfifo(shard)
    assert f"{shard.name}: is not a file" in refusal(lambda: output_of(ensemble))
    shard.unlink()
    shard.mkdir()
    assert f"{shard.name}: is not a file" in refusal(lambda: output_of(ensemble))


def test_a_folder_of_shards_that_is_a_dangling_link(root: Path, ensemble: Path) -> None:
    shutil.rmtree(root / "shards")
    (root / "shards").symlink_to("nowhere")
    assert "its shards are missing" in refusal(lambda: output_of(ensemble))


# ---------------------------------------------------------------------------------------------------------- not finite


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_must_be_finite(root: Path, value: float) -> None:
    path = root / "limit.h5"
    with store.atomic_h5(path, "limit", {}) as file:
        store.put(file, "loss", [1.0, value, 2.0, -np.inf], ("time",), "1", "loss")
        store.put(file, "output", [1.0, 2.0], ("probe",), "1", "output")
    with store.open_complete(path, "limit") as file:
        np.testing.assert_array_equal(file["output"].finite(), [1.0, 2.0])
        line = refusal(file["loss"].finite)
        assert f"{path}: its variable loss has values that are not finite (2 of 4, the first is {value})" in line
        assert "has no variable memory" in refusal(lambda: file["memory"])


# ------------------------------------------------------------------------------------------------------- other readers


def test_validate_sees_what_other_software_would_read(root: Path, ensemble: Path) -> None:
    def swap(file: h5py.File) -> None:
        digest = file["pair"].attrs["digest"]
        layout = h5py.VirtualLayout((8,), "i8")
        for row, first in enumerate((2, 0, 4, 6)):
            source = os.path.relpath(shard_path(root, first, 2), ensemble.parent)
            layout[2 * row : 2 * row + 2] = h5py.VirtualSource(source, "pair", (2,))
        del file["pair"]
        made = file.create_virtual_dataset("pair", layout)
        made.attrs.update({"units": "1", "long_name": "pair", "digest": digest})
        made.dims[0].attach_scale(file["replica"])

    assert validate(ensemble) == []
    forge(ensemble, swap)
    with open_ensemble(ensemble) as file:
        np.testing.assert_array_equal(file["pair"][()], np.arange(8) // 2)
    assert "variable /pair is damaged: other software would read it from other shards" in validate(ensemble)[0]


def test_a_dataset_reads_lazily_through_the_gate(root: Path, ensemble: Path) -> None:
    with datasets.opened(ensemble, cell_id=CELL["cell_id"]) as found:
        again = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(found.output[3:, ::-1, [0, 2]], outputs(0, 8)[3:, ::-1, [0, 2]])
        assert set(found.coords) == {"replica", "time", "probe"}
        assert found.note.values.tolist() == [f"run {row} é" for row in range(8)]
        assert found.output.attrs["long_name"] == "output on probe histories"
        shard_path(root, 2, 2).unlink()
        assert "is missing" in refusal(lambda: again.output.load())
        np.testing.assert_array_equal(found.output[4:], outputs(0, 8)[4:])
