"""A packed file read as the results folder that it was made of, and restored to one; and files that must not be."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import stand_ins
from every_key import BASES, at
from example_files import CELL, PROVENANCE, forge, write_ensemble, write_shards

import rnnlimits
from rnnlimits.base.errors import StudyError
from rnnlimits.cli import documents
from rnnlimits.files import store
from rnnlimits.plan import due
from rnnlimits.plan.copies import copy_of
from rnnlimits.results import compare, inspection, packed_report, unpacking
from rnnlimits.results.packing import pack
from rnnlimits.results.summary import summary
from rnnlimits.results.unpacking import unpack
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate, RatePoint

NUMPY = "numpy"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished study of trainings with a rate, stand-ins for all other values; and its packed file."""
    place = tmp_path_factory.mktemp("finished")
    root = place / "results" / "tiny"
    experiment = at(BASES["training"], root)
    stand_ins.finish(experiment)
    study = experiment.study
    cloud = (RatePoint(16.0, 0.5, 0.01, True, 8), RatePoint(32.0, 0.25, 0.01, True, 8, 1.0))
    rate = Rate(study.name, "drift", "plain", "N", "beta=0.75", 1 / 3, 0.01, 0.3, 0.36, cloud=cloud)
    ratefile.write_h5(experiment.layout.rates_h5, store.provenance(study, ["test"]), [rate])
    ratefile.write_tables(*stand_ins.tables(experiment), ratefile.read(experiment.layout.rates_h5))
    pack(root, place / "one.h5")
    return root, place / "one.h5"


@pytest.fixture
def packed(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    """The same in one file, and nowhere else."""
    return Path(shutil.copy(finished[1], tmp_path / "one.h5"))


def everything(root: Path) -> dict[str, object]:
    """Every HDF5 file by its digest, attributes and dimensions; every text by its bytes."""
    found: dict[str, object] = {}
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".h5", ".csv", ".yaml")):
        name = path.relative_to(root).as_posix()
        if path.suffix != ".h5":
            found[name] = path.read_bytes()
            continue
        with store.open_complete(path, None) as file:
            dims = {key: (one.dims, dict(one.attrs).get("long_name")) for key, one in file.variables.items()}
            found[name] = store.digest_of(path), {key: str(value) for key, value in file.attrs.items()}, dims
    return found


# --- restored ----------------------------------------------------------------------------------------------------


def test_a_pack_is_restored_as_it_was(finished: tuple[Path, Path], tmp_path: Path) -> None:
    """And what a run would do there: draw figures and write the report, which a pack does not have."""
    root = unpack(finished[1], tmp_path / "elsewhere")
    assert everything(root) == everything(finished[0])
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["tiny"]
    left = due.due(at(BASES["training"], root))
    assert (left.parts, left.steps) == ((), ("figures", "report"))
    assert inspection.of_others(root) == []


def test_ensembles_become_files_of_their_own(tmp_path: Path) -> None:
    """Values of shards, text, volatile ones, and what the study's file says, in a folder that no study is known of."""
    root = tmp_path / "results" / "demo"
    write_ensemble(root, write_shards(root))
    (root / "study.yaml").write_text("name: demo\n# by hand: é\n", encoding="utf-8")
    name = "train/N00064-K00064/beta0.6-depth1"
    digest = store.digest_of(root / f"{name}.h5")
    pack(root, tmp_path / "demo.h5")
    back = unpack(tmp_path / "demo.h5", tmp_path / "back")
    assert (back / "study.yaml").read_text(encoding="utf-8") == "name: demo\n# by hand: é\n"
    assert store.digest_of(back / f"{name}.h5") == digest
    assert inspection.validate(back) == []
    with store.open_complete(back / f"{name}.h5", "train-ensemble", cell_id=CELL["cell_id"]) as file:
        assert not file["output"].is_virtual
        assert file["run_seconds"].is_volatile


# --- read --------------------------------------------------------------------------------------------------------


def without_paths(results: Path) -> str:
    found = documents.of_summary(results)
    return documents.text({key: value for key, value in found.items() if key not in ("results", "files")})


def test_readers_say_of_a_pack_what_they_say_of_its_folder(finished: tuple[Path, Path]) -> None:
    root, one = finished
    assert without_paths(one) == without_paths(root)
    assert documents.of_summary(one)["files"] == {"one.h5": one}
    table, places = summary(one).split("where to look:\n")
    assert table == summary(root).split("where to look:\n")[0]
    assert places.strip() == f"{one}  all results in one file; rnnlimits unpack restores the folder"
    mine, theirs = compare.load([one, root])
    assert str((mine.rates, mine.study_id, mine.seed)) == str((theirs.rates, theirs.study_id, theirs.seed))
    assert (mine.label, theirs.label) == (str(one), str(root))
    assert inspection.validate(one) == []
    assert "/rates" in inspection.inspect(one)


def test_the_library_opens_a_pack(packed: Path) -> None:
    found = rnnlimits.open(packed)
    assert list(found.rates["exponent"]) == [1 / 3]
    assert list(found.points["estimate"]) == [0.5, 0.25]
    assert found.stale == []
    assert repr(found).startswith(f"<Results of tiny in {packed}: ")
    folder = found.folder
    assert folder.is_dir()
    with found.twin(64) as twins:
        assert twins.sizes["row"] == 4
    del found
    assert not folder.exists()


def test_a_look_leaves_nothing_behind(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    summary(packed)
    assert list(place.iterdir()) == []


def test_the_report_of_a_pack_lies_next_to_it(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and page are those of a folder, which tests/report has; here where they go and whom they name."""
    texts = []

    def page(subject: object, link: Callable[[Path], object]) -> str:
        experiment = at(BASES["training"], packed.parent / "none")
        texts.append(link(subject.layout.rates_h5))  # type: ignore[attr-defined]
        return f"<!-- {copy_of(experiment.study, packed.parent)[2:60]}"

    monkeypatch.setattr(packed_report, "page", page)
    monkeypatch.setattr(packed_report, "_draw", lambda *_: None)
    output = packed.with_suffix(".html")
    for _ in range(2):  # a report may be renewed
        assert packed_report.report(packed, lambda: pytest.fail(NUMPY)) == output
    assert texts == [("rates.h5", "one.h5")] * 2
    output.write_text("mine")
    with pytest.raises(StudyError, match=r"one\.html: exists and is not a report"):
        packed_report.report(packed, lambda: pytest.fail(NUMPY))
    assert output.read_text() == "mine"


def test_the_report_of_a_pack_whose_study_names_a_file_says_where_to_make_it(packed: Path) -> None:
    def edit(file: h5py.File) -> None:
        text = str(file.attrs["study_yaml"])
        file.attrs["study_yaml"] = re.sub(r"(?m)^quantities: .*$", "quantities: ../../own.py", text)

    forge(packed, edit)
    with pytest.raises(StudyError) as caught:
        packed_report.report(packed, lambda: pytest.fail(NUMPY))
    assert re.fullmatch(rf"{packed}: .* no pack contains; restore .* \(rnnlimits unpack FILE\) .*", str(caught.value))
    assert not packed.with_suffix(".html").exists()


# --- refused -----------------------------------------------------------------------------------------------------


def move(name: str) -> Callable[[h5py.File], object]:
    return lambda file: file.move("rates", name)


def of_kind(kind: str) -> Callable[[h5py.File], object]:
    return lambda file: file["rates"].attrs.__setitem__("kind", kind)


def study(name: str) -> Callable[[h5py.File], object]:
    return lambda file: file.attrs.__setitem__("study", name)


FORGED: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "a name that leads out": (move("../rates"), "has a group of the name '..', which is none of a result"),
    "a hidden name": (move(".locks"), "has a group of the name '.locks'"),
    "a name of a file": (move("rates.h5/x"), "has a group of the name 'rates.h5'"),
    "a folder as study": (study("../../tiny"), "has a study of the name '../../tiny'"),
    "no study": (study(""), "has a study of the name ''"),
    "a soft link": (lambda file: file.__setitem__("x", h5py.SoftLink("/rates")), "/x is a soft or external link"),
    "an external link": (
        lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        "/x is a soft or external link",
    ),
    "another kind": (of_kind("limit"), "its group rates is of kind limit, no result"),
    "an unknown kind": (of_kind("script"), "its group rates is of kind script, no result"),
    "a table as attribute": (
        lambda file: file["rates"].attrs.__setitem__("x", np.zeros((2, 2))),
        "is damaged (its bytes are not the ones that were written)",
    ),
    "no units": (
        lambda file: file["rates/exponent"].attrs.__delitem__("units"),
        "variable /rates/exponent has no units",
    ),
    "other values": (
        lambda file: file["rates/exponent"].__setitem__(0, 0.5),
        "variable /rates/exponent is damaged",
    ),
}


@pytest.mark.parametrize(("edit", "says"), FORGED.values(), ids=FORGED.keys())
def test_a_forged_pack_restores_nothing(
    packed: Path, tmp_path: Path, edit: Callable[[h5py.File], object], says: str
) -> None:
    forge(packed, edit)
    _is_refused(packed, tmp_path, says)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lose_seal(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 30)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (cut, "is truncated or damaged"),
    "without its end": (lose_seal, "its checksum is gone"),
    "a flipped bit": (flip, "is damaged (its bytes are not the ones that were written)"),
    "empty": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "a text": (lambda path: path.write_text("hello"), "is not an HDF5 file"),
    "missing": (Path.unlink, "no such file"),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_pack_restores_nothing(
    packed: Path, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(packed)
    _is_refused(packed, tmp_path, says)


def _is_refused(packed: Path, tmp_path: Path, says: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StudyError) as refused:
        unpack(packed, tmp_path / "results")
    line = str(refused.value)
    assert line.startswith(f"{packed}: ")
    assert says in line
    assert "\n" not in line
    assert "delete it" not in line  # it is somebody else's, and no command here makes it again
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "results"] == before


def test_another_file_is_no_pack(finished: tuple[Path, Path], tmp_path: Path) -> None:
    for reader in (summary, documents.of_summary, rnnlimits.open, lambda path: unpack(path, tmp_path)):
        with pytest.raises(StudyError, match=r"rates\.h5: is not the right file \(kind rates, expected pack\); give "):
            reader(finished[0] / "rates.h5")


def test_nothing_is_overwritten(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "tiny"
    folder.mkdir(parents=True)
    with pytest.raises(StudyError, match=r"results/tiny: exists already, and nothing is overwritten"):
        unpack(packed, tmp_path / "results")
    assert list(folder.iterdir()) == []
    folder.rmdir()
    folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StudyError, match="exists already"):
        unpack(packed, tmp_path / "results")


def test_messages_about_values_name_the_pack(packed: Path, tmp_path: Path) -> None:
    """Rates of another study in a pack, which a reader must not see as a file of a folder that is gone."""
    forge(packed, lambda file: file["rates"].attrs.__setitem__("study_id", "0123456789ab"))
    with pytest.raises(StudyError) as refused:
        summary(packed)
    assert str(refused.value).startswith(f"{packed}:tiny/rates.h5: is from another study (study_id 0123456789ab, ")
    assert PROVENANCE["study"] == "demo"
    assert unpacking.is_packed(packed)
    assert not unpacking.is_packed(tmp_path)
