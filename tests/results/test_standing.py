"""A folder with files of two studies: each reader says so, and shows none of another study as current."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import every_key
import pytest
import stand_ins
from every_key import BASES, at, merged

import rnnlimits
from rnnlimits.base.errors import StudyError
from rnnlimits.cli import documents
from rnnlimits.files import store
from rnnlimits.plan.copies import copy_of
from rnnlimits.plan.parts import Experiment, ensembles
from rnnlimits.results import compare, inspection, standing
from rnnlimits.results.packing import pack
from rnnlimits.results.summary import summary
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import to_yaml
from rnnlimits.watch import live


def study_of(root: Path, **changes: Any) -> Experiment:
    return at(merged(BASES["training"], changes), root)


def finish(experiment: Experiment) -> None:
    """All files of a study, with a rate."""
    stand_ins.finish(experiment)
    study = experiment.study
    rate = Rate(study.name, "drift", "plain", "N", "beta=0.75", 0.5, 0.01, 0.48, 0.52, study_id=study.identity)
    attrs = {"study_id": study.identity, "study": study.name, "seed": study.seed, "study_yaml": "name: tiny"}
    ratefile.write_h5(experiment.layout.rates_h5, attrs, [rate])
    ratefile.write_tables(*stand_ins.tables(experiment), [rate])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A finished study."""
    root = tmp_path / "results" / "tiny"
    finish(study_of(root))
    return root


@pytest.fixture
def mixed(root: Path) -> Path:
    """The same, with the study.yaml of another number of nodes."""
    renew(study_of(root, limit={"nodes": 24}))
    return root


def renew(experiment: Experiment) -> None:
    experiment.layout.study_yaml.write_text(copy_of(experiment.study, experiment.layout.root))


def test_a_folder_of_one_study_is_shown_as_it_is(root: Path, tmp_path: Path) -> None:
    assert standing.stale(root) == []
    assert summary(root).startswith("1 rate: ")
    assert documents.of_summary(root)["stale"] == []
    assert inspection.of_others(root) == []
    assert pack(root, tmp_path / "pack.h5") == []
    assert inspection.validate(tmp_path / "pack.h5") == []
    assert list(rnnlimits.open(root).rates["study_id"]) == [study_of(root).identity]


def test_a_summary_is_held_against_the_study_file_that_is_given(root: Path, tmp_path: Path) -> None:
    """The file was changed, and not run since: the folder is whole in itself."""
    same, other = tmp_path / "same.yaml", tmp_path / "other.yaml"
    same.write_text(to_yaml(study_of(root).study))
    other.write_text(to_yaml(study_of(root, training={"replicas": 24}).study))
    pack(root, tmp_path / "pack.h5")
    for results in (root, tmp_path / "pack.h5"):
        assert summary(results, same) == summary(results)
        for reader in (summary, documents.of_summary):
            with pytest.raises(StudyError, match=r"rates\.h5: is from another study .*; rnnlimits run STUDY brings"):
                reader(results, other)


READERS: dict[str, Callable[[Path], object]] = {
    "summary": summary,
    "summary --json": documents.of_summary,
    "compare": lambda root: compare.load([root, root.parent]),
    "pack": lambda root: pack(root, root.parent / "pack.h5"),
    "library": lambda root: rnnlimits.open(root).rates,
}


@pytest.mark.parametrize("reader", READERS)
def test_rates_of_another_study_are_refused(mixed: Path, reader: str) -> None:
    with pytest.raises(StudyError, match=r"is from another study \(\w+_id \w{12}, expected \w{12}\)") as caught:
        READERS[reader](mixed)
    assert "\n" not in str(caught.value)
    assert not (mixed.parent / "pack.h5").exists()


LOOKS: dict[str, Callable[[Path], object]] = {
    **READERS,
    "digest": inspection.digest,
    "inspect": inspection.inspect,
    "validate": inspection.validate,
    "watch": lambda root: live.watch(root, None, 1.0, True, False),
}
TEXTS = {
    "another encoding": b"\xff\xfe\0name: tiny\n",
    "NUL": bytes(1000),
    "one long line": b"x" * 200_000,
    "nothing": b"",
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["study.yaml", "rates.csv", "weights.csv"])
def test_a_text_that_was_replaced_ends_in_one_line_at_most(root: Path, name: str, text: str) -> None:
    (root / name).write_bytes(TEXTS[text])
    for reader, look in LOOKS.items():
        assert "\n" not in refusal_of(look, root), reader


def refusal_of(look: Callable[[Path], object], root: Path) -> str:
    try:
        look(root)
    except StudyError as refusal:
        return str(refusal)
    return ""


def test_a_pack_has_no_text_that_is_not_utf8(root: Path, tmp_path: Path) -> None:
    (root / "study.yaml").write_bytes(TEXTS["another encoding"])
    with pytest.raises(StudyError, match=r"study\.yaml: byte 0 is not UTF-8; delete it and run"):
        pack(root, tmp_path / "pack.h5")
    assert not (tmp_path / "pack.h5").exists()


def test_every_file_of_another_study_is_a_fault(mixed: Path) -> None:
    names = {Path(line.split(": ")[0]).relative_to(mixed).as_posix() for line in inspection.of_others(mixed)}
    twins = {
        path.relative_to(mixed).as_posix()
        for kind in ("twin", "rich", "tangents")
        for path in mixed.glob(f"{kind}/*.h5")
    }
    assert names == {
        *twins,
        *(["draw.h5", "limit.h5", "poisson.h5", "rates.h5", "rates.csv", "rates_in_time.csv"]),
        *(["figures", "report.html"]),
    }
    assert set(inspection.of_others(mixed)) <= set(inspection.validate(mixed))
    assert len(rnnlimits.open(mixed).stale) == len(names)
    assert [line.split(": ")[0] for line in inspection.validate(mixed / "limit.h5") if "another study" in line] == [
        str(mixed / "limit.h5")
    ]


def test_inspect_says_so_first(mixed: Path) -> None:
    assert "is from another study" in inspection.inspect(mixed).splitlines()[0]
    assert "is from another study" in inspection.inspect(mixed / "limit.h5").splitlines()[0]
    ensemble = ensembles(study_of(mixed).parts())[-1].output.path
    assert "train-ensemble" in inspection.inspect(ensemble).splitlines()[0]


def test_a_summary_marks_what_is_not_of_the_study(root: Path) -> None:
    (root / "report.html").write_text("an older page")
    first, *others = summary(root).splitlines()
    assert first.startswith(f"{root / 'report.html'}: does not say which study it is from")
    assert [line for line in others if line.endswith("(not of this study)")] == [
        line for line in others if "report.html" in line
    ]


def test_a_copy_of_the_study_that_was_edited_is_told(root: Path) -> None:
    path = root / "study.yaml"
    path.write_text(path.read_text().replace("seed: 7", "seed: 9"))
    assert "was edited, or a file that it names has changed" in inspection.of_others(root)[0]
    with pytest.raises(StudyError, match=r"rates.h5: is from another study"):
        summary(root)


def test_a_width_that_the_study_no_longer_has_is_left_out_of_a_pack(root: Path, tmp_path: Path) -> None:
    fewer = study_of(root, training={"width": [16]})
    finish(fewer)
    left = sorted(path for path in root.rglob("*.h5") if "N00032" in str(path) or "K00032" in str(path))
    assert standing.stale(root) == []
    assert standing.leftovers(root, inspection.hdf5_files(root)) == left
    assert pack(root, tmp_path / "pack.h5") == left
    with store.open_complete(tmp_path / "pack.h5", "pack", study_id=fewer.study.identity) as file:
        names = {group.name for group in file.groups()}
    assert "/train/N00016-K00016" in names
    assert "/train/N00032-K00032" not in names


def test_a_pack_of_two_studies_is_at_fault(root: Path, tmp_path: Path) -> None:
    """As an older version wrote it: groups of one study, and the text of another."""
    other = study_of(root, seed=8)
    pack(root, tmp_path / "pack.h5")
    with store.open_complete(tmp_path / "pack.h5", "pack") as file:
        attrs = {name: value for name, value in file.attrs.items() if name not in ("format", "complete", "kind")}
        groups = {name: dict(file.group(name).attrs) for name in ("limit", "rates")}
    attrs |= {"study_yaml": copy_of(other.study, root), "study_id": other.study.identity}
    with store.atomic_h5(tmp_path / "mixed.h5", "pack", attrs) as file:
        for name, own in groups.items():
            file.create_group(name).attrs.update(own)
    found = inspection.validate(tmp_path / "mixed.h5")
    assert {line.split(": ")[1] for line in found} >= {"group limit.h5", "group rates.h5"}


def test_without_the_series_the_marks_are_compared(tmp_path: Path) -> None:
    values = {**BASES["training"], "chain": every_key.CHAIN_BASES["recorded"]}
    del values["target"]
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "series.csv").write_text(every_key.SERIES)
    one, other = at(values, folder / "tiny"), at({**values, "seed": 8}, folder / "tiny")
    finish(one)
    assert standing.stale(folder / "tiny") == []
    (folder / "series.csv").rename(folder / "elsewhere.csv")
    assert standing.stale(folder / "tiny") == []
    assert summary(folder / "tiny").startswith("1 rate: ")
    (folder / "elsewhere.csv").rename(folder / "series.csv")
    renew(other)
    (folder / "series.csv").rename(folder / "elsewhere.csv")
    with pytest.raises(StudyError, match="is from another study"):
        summary(folder / "tiny")


def test_the_series_itself_is_part_of_the_study(tmp_path: Path) -> None:
    """Also where its file keeps name, size and time stamp."""
    values = {**BASES["training"], "chain": every_key.CHAIN_BASES["recorded"]}
    del values["target"]
    folder = tmp_path / "results"
    folder.mkdir()
    path = folder / "series.csv"
    path.write_text(every_key.SERIES)
    finish(at(values, folder / "tiny"))
    stamp = path.stat().st_mtime_ns
    path.write_text(every_key.SERIES.replace("3,2", "2,3", 1))
    os.utime(path, ns=(stamp, stamp))
    assert "a file that it names has changed" in inspection.of_others(folder / "tiny")[0]
