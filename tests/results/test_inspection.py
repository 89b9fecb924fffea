"""What people ask of result files: are they sound, what is in them, are two the same, can I send one?"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from example_files import CELL, PROVENANCE, forge, outputs, shard_path, write_ensemble, write_shard, write_shards

from rnnlimits.base.errors import StudyError
from rnnlimits.files import store
from rnnlimits.results.inspection import digest, inspect, validate
from rnnlimits.results.packing import pack

ENSEMBLE = "train/N00064-K00064/beta0.6-depth1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Results of a study: shards, an ensemble, a limit, its file."""
    root = tmp_path / "results" / "demo"
    write_ensemble(root, write_shards(root))
    with store.atomic_h5(
        root / "limit.h5", "limit", {**PROVENANCE, "draw_id": "0123", "limit_id": "4567", "exact": 0}
    ) as file:
        store.put(file, "loss", np.exp(-np.arange(50.0)), ("fine_time",), "1", "loss of the limit").attrs["note"] = "x"
    (root / "study.yaml").write_text("name: demo\n# written by hand: é\n", encoding="utf-8")
    return root


# --------------------------------------------------------------------------------------------------- validate


def test_sound_results_have_no_faults(root: Path) -> None:
    assert validate(root) == []
    assert validate(root / f"{ENSEMBLE}.h5") == []


def test_a_temporary_left_by_a_killed_writer_is_no_result(root: Path) -> None:
    (root / ".limit.h5.part-0123456789ab").write_bytes(b"half")
    (root / ".limit.h5").write_bytes(b"half")
    assert validate(root) == []


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda file: file.attrs.__delitem__("git_commit"), "has no attribute git_commit"),
        (lambda file: file.attrs.__delitem__("beta"), "has no attribute beta"),
        (lambda file: file["output"].attrs.__delitem__("units"), "variable /output has no units"),
        (lambda file: file["output"].attrs.__delitem__("long_name"), "variable /output has no long_name"),
        (lambda file: file["output"].attrs.__delitem__("digest"), "variable /output has no digest"),
        (lambda file: file["output"].dims[1].detach_scale(file["time"]), "an axis without a dimension scale"),
        (lambda file: file["output"].__setitem__((0, 0, 0), 9.0), "variable /output is damaged"),
        (lambda file: file["note"].__setitem__(0, "other"), "variable /note is damaged"),
        (lambda file: file.__setitem__("bare", np.zeros(3)), "variable /bare has no units"),
        (lambda file: file.__setitem__("link", h5py.SoftLink("/output")), "is not safe to read"),
    ],
)
def test_each_fault_is_named(root: Path, edit: object, fault: str) -> None:
    shard = write_shard(root, 8, 2)
    assert validate(shard) == []
    forge(shard, edit)
    found = validate(root)
    assert any(line.startswith(f"{shard}: ") and fault in line for line in found)
    assert all(str(shard) in line and "\n" not in line for line in found)


def test_the_faults_of_all_files_are_listed(root: Path) -> None:
    shard_path(root, 2, 2).unlink()
    (root / "limit.h5").write_bytes(b"")
    found = validate(root)
    assert len(found) == 2
    assert any("replicas-00002-00003.h5: is missing" in line for line in found)
    assert any("limit.h5: is empty" in line for line in found)


def test_a_shard_exchanged_under_an_ensemble(root: Path) -> None:
    """The same cell, complete, the right shape: only the ensemble's own digest can tell."""
    path = shard_path(root, 2, 2)
    with store.atomic_h5(path, "train-shard", {**PROVENANCE, **CELL, "first": 2, "count": 2}) as file:
        store.put(file, "output", outputs(2, 2) + 1e-9, ("replica", "time", "probe"), "1", "output")
        store.put(file, "pair", [1, 1], ("replica",), "1", "pair")
        store.put(file, "run_seconds", [1.0, 1.0], ("replica",), "s", "run time", volatile=True)
        store.put(file, "replica", [2, 3], ("replica",), "1", "replica")
    found = validate(root)
    assert len(found) == 1
    assert f"{path.name}: was replaced after beta0.6-depth1.h5 was joined from it" in found[0]


def test_nothing_to_validate(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"holds no \.h5 files"):
        validate(tmp_path)
    assert "is missing" in validate(tmp_path / "none.h5")[0]


# ---------------------------------------------------------------------------------------------------- inspect


def test_the_tree_of_a_file(root: Path) -> None:
    text = inspect(root / f"{ENSEMBLE}.h5")
    first, *lines = text.splitlines()
    assert "train-ensemble, rnnlimits format 1" in first
    words = [line.split() for line in lines]
    output = next(line for line in words if line[0] == "output")
    assert " ".join(output) == (
        "output (replica, time, probe) 8 x 3 x 5 float64 [1] output on probe histories (over 4 shards)"
    )
    assert ["time", "3", "0.0", "..", "2.0", "[1]", "training", "time", "t"] in words
    assert ["cell_id", CELL["cell_id"]] in words
    assert "run time (over 4 shards, volatile)" in text
    assert "text of 2 lines" in text


def test_the_list_of_a_folder(root: Path) -> None:
    lines = inspect(root).splitlines()
    assert len(lines) == 7
    assert any(line.split()[:2] == ["limit.h5", "limit"] for line in lines)


def test_text_of_a_hostile_file_cannot_write_on_the_terminal(root: Path) -> None:
    shard = write_shard(root, 8, 2)
    forge(shard, lambda file: file["output"].attrs.__setitem__("long_name", "\x1b[2J\x07 gone"))
    assert inspect(shard).isascii()
    assert "\x1b" not in inspect(shard)


def test_inspect_refuses_what_is_not_complete(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is missing"):
        inspect(tmp_path / "none.h5")


# ----------------------------------------------------------------------------------------------------- digest


def test_digest_lines_are_equal_for_equal_values(root: Path, tmp_path: Path) -> None:
    lines = digest(root)
    assert lines[0].endswith("  limit.h5")
    assert len(lines) == 6
    assert all(len(line.split("  ")[0]) == 64 for line in lines)
    copy = shutil.copytree(root, tmp_path / "copy")
    write_shard(copy, 0, 2, created="another day")
    assert digest(copy) == lines
    assert digest(root / "limit.h5")[0].split("  ")[0] == lines[0].split("  ")[0]


# ------------------------------------------------------------------------------------------------------- pack


def test_a_pack_holds_everything_without_the_shards(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "demo.h5"
    pack(root, output)
    expected = {name: store.digest_of(root / f"{name}.h5") for name in (ENSEMBLE, "limit")}
    shutil.rmtree(root)
    assert validate(output) == []
    assert {name: store.digest_of(output, name) for name in expected} == expected
    with store.open_complete(output, "pack", study="demo") as file:
        assert file.attrs["study_yaml"] == "name: demo\n# written by hand: é\n"
        assert file.group(ENSEMBLE).attrs["cell_id"] == CELL["cell_id"]
        assert file.group("limit")["loss"].attrs["note"] == "x"
        assert not file.group(ENSEMBLE)["output"].is_virtual
        assert file.group(ENSEMBLE)["run_seconds"].attrs["volatile"] == 1


def test_xarray_opens_a_group_of_a_pack(root: Path, tmp_path: Path) -> None:
    pack(root, tmp_path / "demo.h5")
    with xarray.open_dataset(tmp_path / "demo.h5", group=ENSEMBLE, engine="h5netcdf") as found:
        np.testing.assert_array_equal(found.output, outputs(0, 8))
        assert set(found.coords) == {"replica", "time", "probe"}
        assert found.attrs["kind"] == "train-ensemble"


def test_a_pack_may_be_renewed_and_overwrites_nothing_else(root: Path, tmp_path: Path) -> None:
    output, notes = tmp_path / "demo.h5", tmp_path / "notes.txt"
    pack(root, output)
    pack(root, output)
    notes.write_text("mine")
    for target, says in (
        (notes, "exists and is not a pack"),
        (root / "limit.h5", "lies inside"),
        (root / "demo.h5", "lies inside"),
        (tmp_path / "nowhere" / "demo.h5", "no such folder"),
    ):
        with pytest.raises(StudyError, match=says):
            pack(root, target)
    assert notes.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert validate(root) == []


def test_a_result_under_another_ones_name_is_a_fault(root: Path) -> None:
    (root / "draw.h5").write_bytes((root / "limit.h5").read_bytes())
    assert any("draw.h5: is of kind limit; a file of this name is draw" in fault for fault in validate(root))


def test_pack_names_a_missing_shard_and_writes_nothing(root: Path, tmp_path: Path) -> None:
    shard_path(root, 2, 2).unlink()
    with pytest.raises(StudyError, match=r"replicas-00002-00003\.h5: is missing"):
        pack(root, tmp_path / "demo.h5")
    assert not (tmp_path / "demo.h5").exists()


def test_pack_refuses_values_without_their_digest(root: Path, tmp_path: Path) -> None:
    forge(root / "limit.h5", lambda file: file["loss"].__setitem__(0, 5.0))
    with pytest.raises(StudyError, match=r"limit\.h5: its variable loss is damaged"):
        pack(root, tmp_path / "demo.h5")


def test_nothing_to_pack(tmp_path: Path) -> None:
    write_shard(tmp_path / "demo", 0, 2)
    with pytest.raises(StudyError, match="no results to pack"):
        pack(tmp_path / "demo", tmp_path / "demo.h5")
    with pytest.raises(StudyError, match="is not a folder"):
        pack(tmp_path / "none", tmp_path / "demo.h5")


def test_a_shard_in_the_folder_of_another_identity(root: Path) -> None:
    """Whole in itself, so that only its place shows that it does not belong here."""
    shard = shard_path(root, 0, 2)
    elsewhere = shard.parent.parent / "other_0123456789ab"
    elsewhere.mkdir()
    shutil.copy(shard, elsewhere)
    (fault,) = validate(elsewhere / shard.name)
    assert "is not of its folder, which is of 0123456789ab (cell_id " in fault
