"""What a run takes: sums, ranks, and what a made-up machine makes of a study. No test measures time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import predicted_cases
import pytest

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.tables import duration
from rnnlimits.plan.forecast import HIGH, LOW, Forecast, Item, all_files, missing_files, shared
from rnnlimits.plan.parts import Pace
from rnnlimits.plan.starts import Starts
from rnnlimits.ranks import parallel
from rnnlimits.study import Study
from rnnlimits.training import blocksize, forecast
from rnnlimits.training.pilot import Files, Line, Pilot

ITEMS = (
    Item("starts", 3.0),
    Item("starts", 1.0, each=True),
    Item("limit", 2.0, beside=True),
    shared("trainings", [4.0, 1.0, 1.0], 96, "networks"),
    shared("shards", [0.5] * 8, 8, "shards"),
    Item("joins", 0.25, 2, "files", each=True),
)
NANOSECONDS = 1e-6  # for each unit and step, of every kind; enough that nothing is lost in a sum


def pilot(shard: float = 0.01) -> Pilot:
    """A machine on which a step takes time for each unit alone, and every shard the same."""
    line = Line(np.zeros(3), np.array([0.0, 0.0, NANOSECONDS]))
    names = ("draw", "train", "twin", "rich", "tangents")
    lines = {(name, depth): line for name in names for depth in (0, 1)}
    return Pilot(lines, {name: Files(shard=shard) for name in names})


def small(folder: Path, replicas: int = 256, block: int = 256) -> Study:
    old, new = "replicas: 256, replicas_per_block: 256", f"replicas: {replicas}, replicas_per_block: {block}"
    assert old in predicted_cases.STUDY
    return studies.loads(predicted_cases.STUDY.replace(old, new), folder / "predicted.yaml")


def expected(study: Study, folder: Path, ranks: int = 2, of: Pilot | None = None, slowness: float = 1.0) -> Forecast:
    one = experiments.of(study, folder)
    found = forecast.items(study, one.layout, of or pilot(), Starts(slowness), one.steps(), all_files)
    return Forecast(tuple(found), ranks)


# --- sums ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "processors", "clock"), [(1, 16.25, 16.25), (2, 17.5, 10.25), (8, 25.0, 8.75)])
def test_ranks_share_blocks_but_wait_for_the_longest(ranks: int, processors: float, clock: float) -> None:
    """By hand: every rank starts and waits for joins; the limit is solved beside other work where there are two."""
    found = Forecast(ITEMS, ranks)
    assert found.processors == pytest.approx(processors)
    assert found.clock == pytest.approx(clock)


def test_the_table_and_the_document_have_all_parts_of_the_sum() -> None:
    found = Forecast(ITEMS, 2)
    work = found.document()["work"]
    assert [row["kind"] for row in work] == ["starts", "trainings", "shards", "joins", "limit"]
    assert sum(row["processor_seconds"] for row in work) == pytest.approx(found.document()["processor_seconds"])
    assert sum(row["clock_seconds"] for row in work) == pytest.approx(found.document()["clock_seconds"])
    lines = found.table()
    assert [line.split()[0] for line in lines[1:-2]] == [row["kind"] for row in work]
    assert "96 networks" in lines[2]
    assert lines[-1].split()[-4:] == ["18", "s", "10", "s"]
    assert f"{duration(17.5 * LOW)} to {duration(17.5 * HIGH)} of processor time" in found.sentence()


def test_a_duration_has_no_exponent() -> None:
    assert [duration(seconds) for seconds in (99.4, 99.7, 0.0996)] == ["99 s", "1.7 min", "0.1 s"]


# --- a study ---------------------------------------------------------------------------------------------------


def test_twice_the_replicas_are_twice_the_work_but_one_start(tmp_path: Path) -> None:
    """Twins and rich twins too, as they follow each training's path; draws and tangents do not depend on replicas."""
    one, two = (expected(small(tmp_path, replicas), tmp_path) for replicas in (256, 512))
    for kind in ("trainings", "twins", "rich", "shards"):
        assert two.of(kind).processors > 0
    for kind, ratio in {"trainings": 2, "twins": 2, "rich": 2, "starts": 1, "draws": 1, "tangents": 1}.items():
        assert two.of(kind).count == ratio * one.of(kind).count, kind
        assert two.of(kind).processors == pytest.approx(ratio * one.of(kind).processors), kind


def test_trainings_take_their_unit_steps(tmp_path: Path) -> None:
    """N K T R at the speed of the pilot, counted by hand; and so does the speed that the plan prints."""
    study = small(tmp_path)
    steps = sum(width * width * 256 for width in (24, 32, 48, 64))
    assert expected(study, tmp_path).of("trainings").processors == pytest.approx(NANOSECONDS * steps)
    assert forecast.ns_per_unit_step(study, pilot()) == pytest.approx(1e9 * NANOSECONDS)


def test_starts_are_as_slow_as_the_machine(tmp_path: Path) -> None:
    one, two = (expected(small(tmp_path), tmp_path, slowness=slowness).of("starts") for slowness in (1.0, 2.0))
    assert two.processors == pytest.approx(2 * one.processors)


@pytest.mark.needs_compiler
@pytest.mark.needs_mpi
def test_shards_and_files_are_those_that_a_run_writes(tmp_path: Path) -> None:
    """And nothing remains of the parts once they are there, everything of those whose shard is gone."""
    study = small(tmp_path, 128, 64)
    experiment = experiments.of(study, tmp_path)
    layout, steps = experiment.layout, experiment.steps()
    pace = Pace("core", 1.0, items=lambda _, left: forecast.items(study, layout, pilot(), Starts(1.0), steps, left))
    before = experiment.forecast(pace, 1)
    for part in experiment.parts():
        part.run(parallel.world(), kernels.backend("host"))
    shards = sorted(experiment.layout.shards.rglob("*.h5"))
    assert before.of("shards").count == len(shards)
    assert before.of("joins").count == len(list(experiment.layout.root.rglob("*.h5"))) - len(shards)
    rest = experiment.forecast(pace, 1, missing_files)
    assert rest.of("trainings", "shards", "joins", "draws").count == 0
    assert rest.of("rates").processors == before.of("rates").processors
    next(path for path in shards if "N00024" in str(path)).unlink()
    assert experiment.forecast(pace, 1, missing_files).of("trainings").count == 64
    assert any(line.startswith("of which remain: ") for line in experiment.forecast_lines(pace, 1))


# --- larger blocks ---------------------------------------------------------------------------------------------


def test_larger_blocks_are_those_that_the_keys_allow(tmp_path: Path) -> None:
    """The replicas of the main product are rounded up; twins alone have paths in whole blocks."""
    found = list(blocksize.larger(small(tmp_path, 1024, 16)))
    assert [one.training.replicas_per_block for one in found] == [32, 64, 128, 256, 512, 1024]
    assert {one.training.replicas for one in found} == {(1024,) * 4}
    (rounded,) = blocksize.larger(small(tmp_path, 3 * 16, 16))
    assert (rounded.training.replicas_per_block, rounded.training.replicas) == (32, (64,) * 4)
    assert studies.loads(studies.to_yaml(rounded), tmp_path / "rounded.yaml").identity == rounded.identity
    study = small(tmp_path, 1024, 16)
    alone = study.model_copy(update={"twin": study.twin.model_copy(update={"steps_per_time": (16,), "paths": 32})})
    assert [one.training.replicas_per_block for one in blocksize.larger(alone)] == [32, 64]


@pytest.mark.parametrize("shard", [1.0, 0.0])
def test_larger_blocks_are_advised_where_shards_cost_much(shard: float, tmp_path: Path) -> None:
    """Of the sizes with nearly the least time the smallest; nothing where shards cost nothing."""
    study = small(tmp_path, 1024, 16)
    others = list(blocksize.larger(study))
    every = {one.training.replicas_per_block: (one, expected(one, tmp_path, of=pilot(shard))) for one in others}
    lines = blocksize.advice(study, expected(study, tmp_path, of=pilot(shard)), every)
    if not shard:
        assert not lines
        return
    least = min(one.clock for _, one in every.values())
    best = next(size for size, (_, one) in sorted(every.items()) if one.clock <= 1.02 * least)
    assert best > 16
    shards = every[best][1].of("shards").count
    assert lines[0].startswith(f"advice: training.replicas_per_block: {best} makes {shards} shards")
