"""An ensemble is its shards in global order: never with a hole in it, wherever the folder lies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from example_files import (
    CELL,
    PROVENANCE,
    forge,
    outputs,
    shard_path,
    without_list,
    write_ensemble,
    write_shard,
    write_shards,
)

from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.files.ensembles import Shard, build_ensemble, noted, open_ensemble, sealed
from rnnlimits.files.identities import carried


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results" / "demo"


@pytest.fixture
def ensemble(root: Path) -> Path:
    return write_ensemble(root, write_shards(root))


@pytest.fixture
def older(ensemble: Path) -> Path:
    return without_list(ensemble)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(StudyError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def opened(path: Path) -> None:
    with open_ensemble(path, cell_id=CELL["cell_id"]):
        pass


def test_values_in_global_order(ensemble: Path) -> None:
    with open_ensemble(ensemble, cell_id=CELL["cell_id"]) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 8))
        np.testing.assert_array_equal(file["replica"][()], np.arange(8))
        np.testing.assert_array_equal(file["pair"][()], np.arange(8) // 2)
        assert list(file["note"].values()) == [f"run {row} é" for row in range(8)]
        assert file["floor"][()] == 0.25
        assert file["output"].is_virtual
        assert not file["replica"].is_virtual
        assert file.attrs["shard_count"] == 4
        assert file.attrs["shard_backend"] == "host"


def test_xarray_opens_an_ensemble(ensemble: Path) -> None:
    with xarray.open_dataset(ensemble, engine="h5netcdf") as found:
        assert found.output.dims == ("replica", "time", "probe")
        assert set(found.coords) == {"replica", "time", "probe", "shard"}
        np.testing.assert_array_equal(found.output, outputs(0, 8))
        assert found.output.attrs["units"] == "1"


def test_an_ensemble_opens_while_xarray_has_its_shards(root: Path, ensemble: Path) -> None:
    """HDF5 gives fill values for a source that the process has open with another way of locking."""
    with xarray.open_dataset(shard_path(root, 2, 2), engine="h5netcdf"), open_ensemble(ensemble) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 8))


def test_digest_does_not_depend_on_the_blocks(tmp_path: Path) -> None:
    digests = set()
    for block in (1, 2, 4, 8):
        root = tmp_path / str(block)
        digests.add(store.digest_of(write_ensemble(root, write_shards(root, 8, block))))
    assert len(digests) == 1


def test_digest_is_that_of_one_ordinary_file(root: Path, ensemble: Path, tmp_path: Path) -> None:
    """The same values written without shards."""
    whole = write_shard(tmp_path / "whole", 0, 8)
    assert store.digest_of(whole) == store.digest_of(ensemble)
    with store.open_complete(whole, None) as one, store.open_complete(ensemble, None) as other:
        for name in one:
            assert one[name].attrs.get("digest") == other[name].attrs.get("digest")


def test_the_results_folder_can_be_moved(root: Path, ensemble: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(root, moved)
    with open_ensemble(moved / ensemble.relative_to(root)) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 8))


def test_another_working_folder_and_relative_paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent.parent)
    relative = root.relative_to(Path.cwd())
    path = write_ensemble(relative, write_shards(relative))
    monkeypatch.chdir(root / "shards")
    with open_ensemble(Path(os.path.relpath(root / path.relative_to(relative)))) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 8))


def test_building_again_changes_nothing(root: Path, ensemble: Path) -> None:
    before = store.digest_of(ensemble)
    write_ensemble(root, [shard_path(root, first, 2) for first in range(0, 8, 2)])
    assert store.digest_of(ensemble) == before


def test_more_replicas_replace_the_ensemble(root: Path, ensemble: Path) -> None:
    shards = [shard_path(root, first, 2) for first in range(0, 8, 2)]
    write_ensemble(root, [*shards, write_shard(root, 8, 4)])
    with open_ensemble(ensemble) as file:
        np.testing.assert_array_equal(file["output"][()], outputs(0, 12))


def test_a_study_folder_whose_shards_are_on_another_disk(root: Path, ensemble: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    shutil.move(root / "shards", scratch)
    (root / "shards").symlink_to(scratch)
    opened(ensemble)


# ----------------------------------------------------------------------------------------- refused when built


def test_no_shards(root: Path) -> None:
    assert "ensemble without shards" in refusal(lambda: write_ensemble(root, []))
    assert not root.exists()


def test_a_missing_shard_is_named_and_the_old_ensemble_kept(root: Path, ensemble: Path) -> None:
    before = ensemble.read_bytes()
    shards = [shard_path(root, first, 2) for first in range(0, 8, 2)]
    shards[2].unlink()
    line = refusal(lambda: write_ensemble(root, shards))
    assert f"{shards[2]}: is missing" in line
    assert ensemble.read_bytes() == before


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 3), (1, 2, 3), (0, 1, 1, 2, 3)])
def test_shards_with_a_gap_or_out_of_order(root: Path, order: tuple[int, ...]) -> None:
    shards = write_shards(root)
    line = refusal(lambda: write_ensemble(root, [shards[i] for i in order]))
    assert "a shard is missing or out of order" in line


@pytest.mark.parametrize("rows", [[2, 4], [3, 2], []])
def test_a_shard_whose_rows_are_not_consecutive(root: Path, rows: list[int]) -> None:
    shards = write_shards(root)
    with store.atomic_h5(shards[1], "train-shard", {**PROVENANCE, **CELL}) as file:
        store.put(file, "replica", rows, ("replica",), "1", "replica")
    assert f"{shards[1]}: its replica numbers are not consecutive" in refusal(lambda: write_ensemble(root, shards))


def test_a_shard_of_another_cell(root: Path) -> None:
    shards = write_shards(root)
    write_shard(root, 2, 2, cell_id="000000000000")
    assert f"{shards[1]}: is from another study" in refusal(lambda: write_ensemble(root, shards))


def test_a_truncated_shard(root: Path) -> None:
    shards = write_shards(root)
    shards[3].write_bytes(shards[3].read_bytes()[:-1])
    assert str(shards[3]) in refusal(lambda: write_ensemble(root, shards))


def test_an_emptied_shard(root: Path) -> None:
    shards = write_shards(root)
    shards[0].write_bytes(b"")
    assert f"{shards[0]}: is empty" in refusal(lambda: write_ensemble(root, shards))


@pytest.mark.parametrize("variable", ["output", "time"])
def test_a_shard_whose_values_do_not_have_their_digest(root: Path, variable: str) -> None:
    shards = write_shards(root)
    forge(shards[1], lambda file: file[variable].__setitem__(0, 5.0))
    line = refusal(lambda: write_ensemble(root, shards))
    assert f"{shards[1]}: its variable /{variable} is damaged" in line


def test_shards_that_disagree_on_a_common_variable(root: Path, tmp_path: Path) -> None:
    shards = write_shards(root)
    with store.atomic_h5(shards[1], "train-shard", {**PROVENANCE, **CELL}) as file:
        store.put(file, "replica", [2, 3], ("replica",), "1", "replica")
        store.put(file, "time", [0.0, 1.0, 3.0], ("time",), "1", "training time t")
    line = refusal(lambda: write_ensemble(root, shards))
    assert f"{shards[1]}: its variable" in line
    assert "differs" in line


def test_a_shard_outside_the_study(root: Path, tmp_path: Path) -> None:
    shards = [*write_shards(root), write_shard(tmp_path / "other", 8, 2)]
    assert f"{shards[-1]}: is not below" in refusal(lambda: write_ensemble(root, shards))


def test_another_dimension(root: Path) -> None:
    """Draws are joined along blocks."""
    shards = []
    for block in range(3):
        shards.append(root / "shards" / "draw_0123" / f"block-{block:04d}.h5")
        with store.atomic_h5(shards[-1], "draw-shard", {"draw_id": "0123"}) as file:
            store.put(file, "block", [block], ("block",), "1", "block")
            store.put(file, "b", np.full((1, 4), block + 0.5), ("block", "feature"), "1", "first moment")
    build_ensemble(root, shards, root / "draw.h5", "draw", {"draw_id": "0123"}, {"draw_id": "0123"}, "block")
    with open_ensemble(root / "draw.h5", "draw", draw_id="0123") as file:
        np.testing.assert_array_equal(file["b"][:, 0], [0.5, 1.5, 2.5])


# ---------------------------------------------------------------------------------------- refused when opened


def test_hdf5_itself_says_nothing_of_a_missing_shard(root: Path, ensemble: Path) -> None:
    """Why `open_ensemble` looks, and why fill values are absurd ones."""
    shard_path(root, 2, 2).unlink()
    with h5py.File(ensemble) as file:
        assert np.isnan(file["output"][2:4]).all()
        assert (file["pair"][2:4] < -(2**62)).all()
        assert not np.isnan(file["output"][4:]).any()


def test_a_shard_that_went_away_is_named(root: Path, ensemble: Path) -> None:
    shard_path(root, 2, 2).unlink()
    line = refusal(lambda: opened(ensemble))
    assert "replicas-00002-00003.h5: is missing" in line


def test_all_shards_gone(root: Path, ensemble: Path) -> None:
    shutil.rmtree(root / "shards")
    assert "its shards are missing" in refusal(lambda: opened(ensemble))


def test_a_shard_that_was_cut(root: Path, ensemble: Path) -> None:
    shard = shard_path(root, 4, 2)
    shard.write_bytes(shard.read_bytes()[:-2000])
    assert "replicas-00004-00005.h5" in refusal(lambda: opened(ensemble))


def test_a_shard_replaced_by_another_cells(root: Path, ensemble: Path) -> None:
    write_shard(root, 4, 2, cell_id="000000000000")
    assert "is from another study" in refusal(lambda: opened(ensemble))


def test_a_shard_replaced_by_one_of_another_size(root: Path, ensemble: Path) -> None:
    write_shard(root, 4, 3).rename(shard_path(root, 4, 2))
    assert "was replaced after beta0.6-depth1.h5 was joined from it" in refusal(lambda: opened(ensemble))
    assert "does not fit the shard" in refusal(lambda: opened(without_list(ensemble)))


def test_an_ensemble_of_ensembles_ends(root: Path, older: Path) -> None:
    """A virtual source that is virtual itself could lead anywhere, or round in a circle."""
    shard = shard_path(root, 4, 2)
    layout = h5py.VirtualLayout((2, 3, 5), "f8")
    layout[:] = h5py.VirtualSource(shard.name, "output", (2, 3, 5))

    def circle(file: h5py.File) -> None:
        del file["output"]
        file.create_virtual_dataset("output", layout)

    forge(shard, circle)
    assert "do not fit the shard" in refusal(lambda: opened(older))
    assert "takes its values from other files" in refusal(lambda: write_ensemble(root, [shard]))


def test_an_ensemble_with_rows_from_nowhere(root: Path, older: Path) -> None:
    def shorten(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((8,), "i8")
        source = os.path.relpath(shard_path(root, 0, 2), older.parent)
        layout[0:2] = h5py.VirtualSource(source, "pair", (2,))
        del file["pair"]
        file.create_virtual_dataset("pair", layout)

    forge(older, shorten)
    assert "rows without a source" in refusal(lambda: opened(older))


def test_an_ensemble_that_takes_another_variable(root: Path, older: Path) -> None:
    def swap(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((8,), "f8")
        for first in range(0, 8, 2):
            source = os.path.relpath(shard_path(root, first, 2), older.parent)
            layout[first : first + 2] = h5py.VirtualSource(source, "run_seconds", (2,))
        file.create_virtual_dataset("seconds", layout)

    forge(older, swap)
    assert "does not fit the shard" in refusal(lambda: opened(older))


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "another"])
def test_an_ensemble_tells_a_shard_that_is_not_the_one_that_was_joined(root: Path, ensemble: Path, damage: str) -> None:
    """From its attributes, list and the shards' last bytes alone, as the decision on what is due needs it."""
    seen = carried(ensemble)
    assert (seen.lost, seen.exchanged) == (None, None)
    shard, content = shard_path(root, 2, 2), shard_path(root, 2, 2).read_bytes()
    if damage == "gone":
        shard.unlink()
    else:
        other = shard_path(root, 4, 2).read_bytes()
        shard.write_bytes({"empty": b"", "cut": content[:-1], "another": other}[damage])
    seen = carried(ensemble)
    assert (seen.lost, seen.exchanged) == ((shard, None) if damage == "gone" else (None, shard))


def test_a_look_at_damaged_texts_ends(ensemble: Path) -> None:
    """HDF5 would read a heap of zeros for ever; no signal ends that."""
    content = bytearray(ensemble.read_bytes())
    heap = content.index(b"GCOL") + 16
    content[heap : heap + 512] = bytes(512)
    ensemble.write_bytes(content)
    assert carried(ensemble).damage == "is damaged"


def noted_shard(root: Path, first: int, shift: float = 0.0) -> Shard:
    """A shard of two rows, and what its writer noted."""
    path, found = shard_path(root, first, 2), list[Shard | None]()
    rows = np.arange(first, first + 2)
    attrs = {**PROVENANCE, **CELL, "first": first, "count": 2}
    with store.atomic_h5(path, "train-shard", attrs, lambda file: found.append(noted(file, path, "replica"))) as file:
        store.put(file, "replica", rows, ("replica",), "1", "replica")
        store.put(file, "output", np.sin(rows[:, None] + np.arange(3) + shift), ("replica", "probe"), "1", "output")
        store.put(file, "time", np.array([0.0, 1.0]), ("time",), "1", "time")
        store.put(file, "seconds", 1.0 * rows, ("replica",), "s", "seconds", volatile=True)
    assert found[0] is not None
    return sealed(found[0])


def joined(root: Path, shards: list[Shard], known: dict[Path, Shard]) -> dict[str, list[str]]:
    """Everything in the ensemble of shards but when it was written."""
    path, own = root / "train" / "cell.h5", {"cell_id": CELL["cell_id"]}
    shards_of = [shard.path for shard in shards]
    build_ensemble(root, shards_of, path, "train-ensemble", {**PROVENANCE, **CELL}, own, known=known)
    with open_ensemble(path, **own) as file:
        return {
            name: [str(one.dims), str(one.dtype), str(sorted(one.attrs.items())), str(one.values().tolist())]
            for name, one in file.variables.items()
        } | {"root": [str(file.attrs[name]) for name in ("shard_count", "shard_backend", "joined_along")]}


def test_shards_are_joined_as_their_writers_noted_them_or_as_they_are_read(root: Path) -> None:
    shards = [noted_shard(root, 0), noted_shard(root, 2)]
    by_note = joined(root, shards, {shard.path: shard for shard in shards})
    assert by_note == joined(root, shards, {})


def test_a_shard_that_was_replaced_since_it_was_noted_is_read_again(root: Path) -> None:
    old = [noted_shard(root, 0), noted_shard(root, 2)]
    new = [old[0], noted_shard(root, 2, shift=1.0)]
    assert joined(root, old, {shard.path: shard for shard in old}) == joined(root, new, {})
    bytes_before = new[1].path.read_bytes()
    new[1].path.write_bytes(bytes_before[:3000] + b"!" + bytes_before[3001:])
    assert "damaged" in refusal(lambda: joined(root, new, {shard.path: shard for shard in new}))


def test_scales_are_attached_as_hdf5_attaches_them(root: Path) -> None:
    with h5py.File(noted_shard(root, 0).path) as file:
        for name, scales in (("output", ("replica", "probe")), ("seconds", ("replica",))):
            assert [axis[0].name for axis in file[name].dims] == [f"/{scale}" for scale in scales]
            assert all(h5py.h5ds.is_attached(file[name].id, file[at].id, i) for i, at in enumerate(scales))
        uses = file["replica"].attrs["REFERENCE_LIST"]
        assert [(file[use].name, axis) for use, axis in uses] == [("/output", 0), ("/seconds", 0)]
        assert not h5py.h5ds.is_attached(file["output"].id, file["time"].id, 0)
