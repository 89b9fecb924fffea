"""What is due by the files of a results folder, against a table by hand and against the identity functions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import every_key
import h5py
import pytest
import stand_ins
from every_key import BASES, RATES, SHOWN, at, groups, merged
from example_files import forge

from rnnlimits.base.errors import StudyError
from rnnlimits.elman import plan as elman
from rnnlimits.files import seal, store
from rnnlimits.files.identities import carried, mark
from rnnlimits.files.variables import describe
from rnnlimits.plan import due
from rnnlimits.plan.copies import copy_of
from rnnlimits.plan.parts import Experiment, ensembles
from rnnlimits.run import workflow
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import RntkStudy, Study, load_any
from rnnlimits.study.identity import cell_id, draw_id, limit_id, rich_id, tangents_id, twin_id
from rnnlimits.training import plan


@pytest.fixture(params=BASES)
def finished(request: pytest.FixtureRequest, tmp_path: Path) -> Experiment:
    """A study of each kind, with all its files."""
    experiment = at(BASES[request.param], tmp_path / "results" / "tiny")
    stand_ins.finish(experiment)
    return experiment


def trainings(tmp_path: Path, **changes: Any) -> Experiment:
    return at(merged(BASES["training"], changes), tmp_path / "results" / "tiny")


# --- every key -------------------------------------------------------------------------------------------------


def test_every_key_of_the_schema_is_in_the_table() -> None:
    assert {key for key, *_ in every_key.rows()} == every_key.keys_of_schema()


def test_what_every_key_makes_again(tmp_path: Path) -> None:
    """Against the table by hand, and against which values of the identity functions change."""
    for key, before, after, again in every_key.table(tmp_path):
        assert not due.faults(before), key
        assert groups(after) == again, key
        assert set(due.due(after).parts) == changed_parts(before.study, after.study), key
        assert ("limit" in again) == (limits(before.study) != limits(after.study)), key
        new = (before.study.identity, before.study.name) != (after.study.identity, after.study.name)
        assert ("rates" in again) == new, key


def limits(study: Any) -> object:
    return limit_id(study) if isinstance(study, Study) else None


def changed_parts(before: Any, after: Any) -> set[str]:
    """The parts of `after` one of whose files `before` does not have, by the identity functions alone."""
    old, new = files(before), files(after)
    return {part for path, (part, mark) in new.items() if path not in old or old[path][1] != mark}


def files(study: Any) -> dict[str, tuple[str, object]]:
    """By file: the part that writes it, and what its values depend on."""
    if isinstance(study, RntkStudy):
        cells = {f"{c.pack}/{c.network}": (c.pack, (elman.cell_id(study, c), c.replicas)) for c in elman.cells(study)}
        return {**cells}
    assert isinstance(study, Study)
    twins = [(f"twin-K{one.steps_per_time:05d}", (twin_id(study, one), one.paths)) for one in plan.twins(study)]
    cells = {f"{c.pack}/{c.name}": (c.pack, (cell_id(study, c), c.replicas)) for c in plan.cells(study)}
    rich = {f"rich {t.name}": ("rich", (rich_id(study, t), t.paths)) for t in plan.rich_twins(study)}
    tangents = {f"of {t.name}": ("tangents", (tangents_id(study, t), t.paths)) for t in plan.tangent_twins(study)}
    draws = {"draw": ("draw", draw_id(study))}
    return {**draws, **{name: (name, mark) for name, mark in twins}, **rich, **tangents, **cells}


# --- what does not matter --------------------------------------------------------------------------------------


def test_copies_links_and_times_make_nothing_due(finished: Experiment, tmp_path: Path) -> None:
    root = finished.layout.root
    for number, path in enumerate(sorted(root.rglob("*"))):
        os.utime(path, (1e9 - number * 1e6,) * 2)
    assert due.due(finished).paths == ()
    shutil.copytree(root, tmp_path / "copied" / "tiny")
    shutil.move(root, tmp_path / "moved")
    (tmp_path / "linked").symlink_to(tmp_path / "moved")
    for place in ("copied/tiny", "moved", "linked"):
        assert due.due(type(finished).at(finished.study, tmp_path / place)).paths == (), place  # type: ignore[attr-defined]


def test_a_series_is_found_from_results_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "work" / "results").symlink_to(tmp_path / "far" / "away")
    (tmp_path / "work" / "series.csv").write_text(every_key.SERIES)
    values = {**BASES["training"], "chain": every_key.CHAIN_BASES["recorded"]}
    del values["target"]
    experiment = at(values, tmp_path / "work" / "results")
    root = tmp_path / "work" / "results" / "tiny"
    root.mkdir()
    (root / "study.yaml").write_text(copy_of(experiment.study, root))
    assert load_any(root / "study.yaml").identity == experiment.study.identity


def test_the_size_of_blocks_may_change_with_the_old_shards_in_place(tmp_path: Path) -> None:
    before, after = trainings(tmp_path), trainings(tmp_path, training={"replicas_per_block": 4})
    stand_ins.finish(before)
    assert groups(after) == SHOWN


# --- what does ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_made_again_with_all_that_reads_it(finished: Experiment) -> None:
    for part in finished.parts():
        part.outputs[0].unlink()
        found = due.due(finished)
        assert due.stale(finished) == []
        assert due.faults(finished)[part.outputs[0]].is_missing
        assert found.parts == (part.name,)
        assert set(found.paths) == {*part.outputs, *downstream(finished, set(part.outputs))}
        stand_ins.write_ensembles(part.ensembles)
    for step in finished.steps():
        for output in step.outputs:
            shutil.rmtree(output.path) if output.kind.is_folder else output.path.unlink()
            found = due.due(finished)
            assert due.stale(finished) == []
            assert found.parts == ()
            assert set(found.paths) == {*step.paths, *downstream(finished, set(step.paths))}
            stand_ins.write_output(finished, output, step.identity)
    assert not due.faults(finished)


def downstream(experiment: Experiment, paths: set[Path]) -> set[Path]:
    found = set(paths)
    for step in experiment.steps():
        if found & set(step.inputs):
            found |= set(step.paths)
    return found


@pytest.mark.parametrize("spoil", [b"", b"no HDF5 at all", None], ids=["empty", "another file", "truncated"])
def test_a_damaged_file_is_due(tmp_path: Path, spoil: bytes | None) -> None:
    experiment = trainings(tmp_path)
    stand_ins.finish(experiment)
    path = experiment.layout.root / "limit.h5"
    path.write_bytes(path.read_bytes()[:-100] if spoil is None else spoil)
    assert due.due(experiment).steps == ("limit", "rates", "figures", "report")
    assert not due.faults(experiment)[path].foreign


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[: -seal.LENGTH]),
        lambda path: forge(path, lambda file: file.attrs.modify("complete", 0)),
        lambda path: forge(path, lambda file: file.attrs.modify("format_version", 2)),
    ],
    ids=["no seal", "not complete", "another version"],
)
def test_a_file_that_hdf5_opens_and_no_reader_accepts_is_due(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    experiment = trainings(tmp_path)
    stand_ins.finish(experiment)
    path = experiment.layout.root / "limit.h5"
    spoil(path)
    assert due.faults(experiment)[path].words == "is not complete, or of another format version"
    assert due.due(experiment).steps == ("limit", "rates", "figures", "report")


def test_an_ensemble_that_lacks_a_shard_is_due(tmp_path: Path) -> None:
    experiment = trainings(tmp_path)
    stand_ins.finish(experiment)
    ensemble = ensembles(experiment.parts())[-1]
    shard = ensemble.blocks[0].path
    layout = h5py.VirtualLayout((ensemble.rows,), "f8")
    layout[:] = h5py.VirtualSource(os.path.relpath(shard, ensemble.output.path.parent), "x", (ensemble.rows,), "f8")
    attrs = {"cell_id": ensemble.identity, "joined_along": "row"}
    with store.atomic_h5(ensemble.output.path, ensemble.output.kind.kind, attrs) as file:
        store.put(file, "row", range(ensemble.rows), ("row",), "1", "index of the row")
        describe(file.create_virtual_dataset("x", layout), ("row",), "1", "numbers", None)
    assert str(shard) in due.faults(experiment)[ensemble.output.path].words
    shard.parent.mkdir(parents=True)
    shard.touch()
    assert not due.faults(experiment)


def test_a_step_says_that_what_it_reads_is_of_another_study(tmp_path: Path) -> None:
    before, after = trainings(tmp_path), trainings(tmp_path, limit={"nodes": 24})
    stand_ins.finish(before)
    for step in before.steps():
        due.require_inputs(before, step)
    for step in after.steps():
        with pytest.raises(StudyError, match=r"is from another study \(.*rnnlimits run STUDY"):
            due.require_inputs(after, step)


# --- tables, figures, pages --------------------------------------------------------------------------------------


def write_rates(experiment: Experiment) -> None:
    study = experiment.study
    rate = Rate(study.name, "drift", "plain", "N", "beta=0.75", 0.5, 0.01, 0.48, 0.52, study_id=study.identity)
    attrs = {"study_id": study.identity, "study": study.name}
    ratefile.write_h5(experiment.layout.rates_h5, attrs, [rate])
    ratefile.write_tables(*stand_ins.tables(experiment), [rate])


def test_a_table_that_was_edited_is_made_again(finished: Experiment) -> None:
    write_rates(finished)
    assert not due.faults(finished)
    path = finished.layout.rates_csv
    path.write_text(path.read_text().replace("0.5,", "0.6,"))
    assert "was edited" in str(due.faults(finished)[path])
    assert {"rates", "figures", "report"} == set(due.due(finished).steps)


def test_a_table_without_rows_is_known_by_the_file_behind_it(finished: Experiment) -> None:
    attrs = {"study_id": finished.identity, "study": finished.study.name}
    ratefile.write_h5(finished.layout.rates_h5, attrs, [])
    ratefile.write_tables(*stand_ins.tables(finished), [])
    assert not due.faults(finished)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "one.png").unlink(), "lacks one.png"),
        (lambda folder: (folder / "one.svg").write_text("<svg/>"), "lacks one.svg"),
        (lambda folder: (folder / "two.svg").write_text(mark(study_id="0123", figures="two")), "has two.svg, which is"),
        (lambda folder: [path.write_text("") for path in folder.iterdir()], "does not say which study"),
    ],
)
def test_figures_are_all_there_and_no_others(
    finished: Experiment, change: Callable[[Path], object], words: str
) -> None:
    folder = finished.layout.figures
    (folder / "own.png").write_bytes(b"somebody's own")
    assert not due.faults(finished)
    change(folder)
    assert words in due.faults(finished)[folder].words
    assert groups(finished) == {"figures", "report"}


def test_results_of_an_older_version_keep_what_has_an_identity(finished: Experiment) -> None:
    layout = finished.layout
    for path in [layout.rates_csv, layout.report, *layout.figures.iterdir()]:
        path.write_text("study\ntiny\n")
    layout.study_yaml.write_text("\n".join(layout.study_yaml.read_text().splitlines()[1:]) + "\n")
    assert due.due(finished).parts == ()
    assert groups(finished) == RATES


def test_a_mark_ends_where_it_ends(tmp_path: Path) -> None:
    """In a PNG binary bytes follow, which may be letters."""
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\ntEXtIdentifier\0" + mark(study_id="0123", figures="a,b").encode() + b"N\xaf\x00"
    )
    assert carried(path).names == {"study_id": "0123", "figures": "a,b"}
    assert carried(path).identities == {"study_id": "0123"}


# --- more replicas -----------------------------------------------------------------------------------------------


def test_new_replicas_are_not_called_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is finished is kept, and one line says how much of the study there is; not that it is of another study."""
    before = trainings(tmp_path, training={"replicas": 8})
    stand_ins.finish(before)
    after = trainings(tmp_path, training={"replicas": 16})
    cells = [ensemble for part in after.packs() for ensemble in part.ensembles]
    for fault in map(due.ensemble_fault, cells):
        assert fault is not None
        assert (fault.words, fault.grown, fault.is_missing) == ("has 8 of now 16 replicas", True, False)
    workflow.announce(after)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rnnlimits: {cells[0].output.path}: has 8 of now 16 replicas (and ")
    assert line.endswith("; those that are finished are kept, and what is computed from all of them is made again")


def test_fewer_replicas_are_said_to_be_fewer(tmp_path: Path) -> None:
    stand_ins.finish(trainings(tmp_path, training={"replicas": 16}))
    cells = [one for part in trainings(tmp_path, training={"replicas": 8}).packs() for one in part.ensembles]
    assert {due.ensemble_fault(cell).words for cell in cells} == {  # type: ignore[union-attr]
        "has 16 replicas, of which the study has only 8 now"
    }


def test_what_else_was_changed_is_announced_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stand_ins.finish(trainings(tmp_path, training={"replicas": 8}))
    workflow.announce(trainings(tmp_path, training={"replicas": 16}, limit={"nodes": 24}))
    first, second = capsys.readouterr().err.splitlines()
    assert "of now 16 replicas" in first
    assert second.endswith("is made again")
    assert "is from another study (draw_id " in second or "is from another study (twin_id " in second
