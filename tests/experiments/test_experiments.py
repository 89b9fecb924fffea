"""Every kind of study against what the software believes of it: parts, shards, steps, identities, files, plans."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import ROOT, write_rntk, write_study

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.cli import documents
from rnnlimits.experiments import KINDS, BaseExperiment
from rnnlimits.files.store import open_complete
from rnnlimits.kernels import processor
from rnnlimits.plan.files import COMMON
from rnnlimits.plan.parts import FileKind, Pace, Part, ensembles
from rnnlimits.ranks import parallel
from rnnlimits.results.inspection import ATTRIBUTES, KIND_OF_NAME, missing, validate
from rnnlimits.results.summary import places
from rnnlimits.run import rules, stages
from rnnlimits.study import load_any, to_yaml
from rnnlimits.study.model import EXPERIMENTS

Experiment = BaseExperiment[Any, Any]
FORMAT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")


def write_trainings(folder: Path, **changes: Any) -> Path:
    return write_study(folder, **{"twin": {"follow": True}, **changes})


# A small study of each kind: a function that writes its file, with keys replaced; and keys that only add replicas.
SMALL: dict[str, tuple[Callable[..., Path], dict[str, Any]]] = {
    "training": (write_trainings, {"training": {"replicas": 16}}),
    "rntk": (write_rntk, {"fluctuation": {"width": [8, 16], "replicas": 60}}),
}


def test_every_kind_has_a_model_a_class_and_a_small_study() -> None:
    assert list(KINDS) == list(EXPERIMENTS) == list(SMALL)


@pytest.fixture(params=SMALL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def experiment(kind: str, tmp_path: Path) -> Experiment:
    return made(kind, tmp_path)


def made(kind: str, folder: Path, **changes: Any) -> Experiment:
    """The small study of a kind with keys replaced, and its results folder below `folder`."""
    return experiments.of(load_any(SMALL[kind][0](folder, **changes)), folder / "results")


def files_of(experiment: Experiment) -> list[tuple[Path, FileKind]]:
    """Every output of parts and steps."""
    outputs = [ensemble.output for ensemble in ensembles(experiment.parts())]
    outputs += [output for step in experiment.steps() for output in step.outputs]
    return [(output.path, output.kind) for output in outputs]


# --- parts and steps -------------------------------------------------------------------------------------------


def test_an_experiment_is_of_its_kind(kind: str, experiment: Experiment) -> None:
    assert experiment.kind == experiment.study.experiment == kind
    assert experiment.checks()
    assert {part.command for part in experiment.parts()} <= {*experiment.parallel, "work"}
    assert tuple(step.name for step in experiment.steps()) == experiment.serial


def test_names_are_unique(experiment: Experiment) -> None:
    """Those of parts and steps together, as rules, locks and logs."""
    parts, steps = experiment.parts(), experiment.steps()
    assert len({part.name for part in parts}) == len(parts)
    for names in (
        [*(part.rule for part in parts), *(step.rule or step.name for step in steps)],
        [*(part.lock for part in parts), *(step.name for step in steps)],
    ):
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


def test_everything_lies_below_the_results_folder_and_once(experiment: Experiment) -> None:
    root = experiment.layout.root
    blocks = [block for part in experiment.parts() for block in part.blocks]
    paths = [path for path, _ in files_of(experiment)]
    for path in itertools.chain(paths, (block.path for block in blocks)):
        assert path.is_relative_to(root)
    states = [block.state for block in blocks if block.state is not None]
    every = [*paths, *(block.path for block in blocks), *states]
    assert len(set(every)) == len(every)
    assert all(block.path.is_relative_to(experiment.layout.shards) for block in blocks)


def test_an_ensemble_has_its_shards_in_one_folder_named_by_its_identity(experiment: Experiment) -> None:
    for ensemble in ensembles(experiment.parts()):
        assert {block.path.parent for block in ensemble.blocks} == {ensemble.shards}
        assert ensemble.shards.name.endswith(f"_{ensemble.identity}")
        assert (ensemble.states is not None) == (ensemble.steps > 0)
        assert all(block.work > 0 and block.operations > 0 for block in ensemble.blocks)


def test_steps_read_what_parts_and_earlier_steps_leave(experiment: Experiment) -> None:
    written = {path for part in experiment.parts() for path in part.outputs}
    for step in experiment.steps():
        assert set(step.inputs) <= written, step.name
        assert step.outputs
        written |= set(step.paths)


# --- identities ------------------------------------------------------------------------------------------------


def identities(experiment: Experiment) -> dict[str, object]:
    """By name of part or step, and of the whole."""
    own: dict[str, object] = {part.lock: part.identity for part in experiment.parts()}
    return {**own, **{step.name: step.identity for step in experiment.steps()}, "study": experiment.identity}


def shard_folders(experiment: Experiment) -> set[str]:
    return {ensemble.shards.name for ensemble in ensembles(experiment.parts())}


def test_another_name_changes_nothing(kind: str, experiment: Experiment, tmp_path: Path) -> None:
    other = made(kind, tmp_path, name="other")
    assert identities(other) == identities(experiment)
    assert other.layout.root.name == "other"


def test_another_seed_changes_all(kind: str, experiment: Experiment, tmp_path: Path) -> None:
    other = made(kind, tmp_path, seed=99)
    before, after = identities(experiment), identities(other)
    assert before.keys() == after.keys()
    assert not [name for name in before if before[name] == after[name]]
    assert not shard_folders(experiment) & shard_folders(other)


def test_more_replicas_keep_the_shards_and_are_noticed(kind: str, experiment: Experiment, tmp_path: Path) -> None:
    other = made(kind, tmp_path, **SMALL[kind][1])
    assert shard_folders(experiment) == shard_folders(other)
    before, after = identities(experiment), identities(other)
    assert before["study"] != after["study"]
    assert [name for name in before if before[name] != after[name] and name not in experiment.serial]
    shards = [{block.path for part in each.parts() for block in part.blocks} for each in (experiment, other)]
    assert len(shards[1]) >= len(shards[0])


def test_identities_of_files_are_the_studys(experiment: Experiment) -> None:
    """An identity is a function of the study alone: read again from its own text, it is the same."""
    path = experiment.layout.root / "study.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(to_yaml(experiment.study, path.parent))
    assert identities(experiments.at(load_any(path), experiment.layout.root)) == identities(experiment)


# --- what others make of it --------------------------------------------------------------------------------------


def test_the_plan_as_json_lists_every_part_and_step(experiment: Experiment) -> None:
    plan = json.loads(documents.text(documents.of_plan(experiment, Pace("core", 1.0))))
    assert [part["part"] for part in plan["parts"]] == [part.name for part in experiment.parts()]
    assert [step["step"] for step in plan["steps"]] == list(experiment.serial)
    assert {pack["pack"] for pack in plan["packs"]} <= {part["part"] for part in plan["parts"]}
    assert plan["experiment"] == experiment.kind
    printed = experiment.summary(Pace("core", 1.0))
    assert all(part.name in printed for part in experiment.packs())
    assert experiment.identity in printed


def test_every_kind_of_file_is_known_and_described(experiment: Experiment) -> None:
    own = {kind for _, kind in files_of(experiment)} | {e.shard for e in ensembles(experiment.parts())}
    assert own <= {*COMMON, *experiment.files}
    for kind in own:
        if kind.kind:
            assert set(kind.attributes) == set(ATTRIBUTES[kind.kind])
            assert re.search(rf"^### {kind.kind.replace('ensemble', 'shard')}$", FORMAT, re.M), kind.kind
            assert all(f"| `{name}` |" in FORMAT for name in kind.attributes), kind
            assert not kind.file or KIND_OF_NAME[kind.file] == kind.kind
        assert (kind.file or kind.folder or kind.kind) in FORMAT


def test_kinds_of_files_are_named_once() -> None:
    names = [kind.kind or kind.file for kind in experiments.file_kinds()]
    assert len(set(names)) == len(names)


def test_the_command_of_a_part_runs_that_part_alone(experiment: Experiment) -> None:
    for part in experiment.parts():
        for command in (rules.part_command(part), "work {params.study:q} {params.part:q}"):
            assert [found.name for found in stages.chosen(experiment, order(command, part))] == [part.name]


def order(command: str, part: Part) -> stages.Order:
    """What the command line makes of a rule's command."""
    verb, _, option = command.partition(" {params.study:q}")
    value = part.option[1] if part.option and option.startswith(" --") else None
    given = {"pack": value if isinstance(value, str) else None, "steps": value if isinstance(value, int) else None}
    return stages.Order(verb, Path("x"), Path("y"), "auto", print, parts=(part.name,), **given)  # type: ignore[arg-type]


def test_what_a_study_does_not_have_is_refused_in_one_line(experiment: Experiment) -> None:
    def asked(stage: str, **words: Any) -> None:
        stages.chosen(experiment, stages.Order(stage, Path("x"), Path("y"), "auto", print, **words))

    with pytest.raises(StudyError, match="there is no part nonsense; allowed: "):
        asked("work", parts=("nonsense",))
    with pytest.raises(StudyError, match=rf"experiment is {experiment.kind}, which has no stage dig; its stages are "):
        asked("dig")
    with pytest.raises(StudyError, match="there is no pack nonsense; allowed: "):
        asked("train", pack="nonsense")


# --- a run -----------------------------------------------------------------------------------------------------


@pytest.mark.needs_compiler
def test_a_run_writes_what_parts_and_steps_say(experiment: Experiment) -> None:
    """Shards, ensembles, outputs: those that are told of and no others, of the kinds and identities told of."""
    root = experiment.layout.root
    root.mkdir(parents=True)
    (root / "study.yaml").write_text(to_yaml(experiment.study, root))
    for part in experiment.parts():
        part.run(parallel.world(), processor())
        for ensemble in part.ensembles:
            assert {path.name for path in ensemble.shards.iterdir()} == set(ensemble.work)
            for path, kind in [(ensemble.output.path, ensemble.output.kind), (ensemble.blocks[0].path, ensemble.shard)]:
                with open_complete(path, kind.kind) as file:
                    assert ensemble.identity in {str(file.attrs[name]) for name in kind.attributes if "id" in name}
    folders = {path.name for path in experiment.layout.shards.iterdir()}
    assert folders == shard_folders(experiment)
    assert missing(root)
    for step in experiment.steps():
        assert not any(path.exists() for path in step.paths)
        step.run(processor)
        assert all(
            path.is_dir() if output.kind.is_folder else path.is_file()
            for path, output in zip(step.paths, step.outputs, strict=True)
        )
    assert missing(root) == []
    assert validate(root) == []
    captions = {kind.file or kind.folder for kind in (*COMMON, *experiment.files) if kind.caption} - {"study.yaml"}
    assert {path.relative_to(root).as_posix() for path, _ in places(root)} == captions
