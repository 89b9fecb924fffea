"""Runs that train until an exponent is known: rounds, endings, and that nothing is trained twice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import example_results as made_up
import numpy as np
import predicted_cases
import pytest

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.cli import entry
from rnnlimits.files import store
from rnnlimits.plan import due
from rnnlimits.plan.forecast import Item, Left
from rnnlimits.plan.parts import Experiment, Pace
from rnnlimits.rates import design
from rnnlimits.rates.reader import Reader
from rnnlimits.rates.trained import training_rate
from rnnlimits.run import adaptive
from rnnlimits.run.adaptive import Asked, Machine, reach
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.bootstrap import Bootstrap
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout

HALF, ROUNDS = 0.08, 3
OTHER = "{kind: linear-gaussian, a: 0.5, q: 1.0}"
SIZE = {"width": "[64, 128, 256, 512]", "replicas": "64"}
ASKED = Asked(HALF, "output_fluctuation")


# --- made-up results -------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """Executes a study at once: trainings that are made up, and half-widths that a test names, one for each round."""

    results: Path
    half_widths: Sequence[float]
    line_p: float = 0.5
    note: str = ""
    stop: int = 0  # the round that is interrupted once its trainings exist
    replicas: list[tuple[int, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def execute(self, study: Study, path: Path, targets: Sequence[str] = (), told: bool = False) -> None:
        assert not targets
        assert path == self.results / "made-up" / "resolved.yaml"
        self.replicas.append(study.training.products()[0].replicas)
        layout = experiments.Trainings.at(study, path.parent).layout
        for cell in plan.cells(study):
            made_up.write_ensemble(study, layout, cell)
        if len(self.replicas) == self.stop:
            raise KeyboardInterrupt
        half = self.half_widths[len(self.replicas) - 1]
        rows = [self.row("beta=0.6", 0.5 * half), self.row("beta=0.75", half)]
        ratefile.write_h5(layout.rates_h5, {**store.provenance(study), "backend": "numpy", "device": ""}, rows)

    def row(self, at: str, half: float) -> Rate:
        ends = {"ci_low": 0.25 - half, "ci_high": 0.25 + half, "line_p": self.line_p, "note": self.note}
        value = math.nan if self.note.startswith("refused") else 0.25
        return Rate("made-up", "output_fluctuation", "half-difference", "N", at, value, stderr=0.5 * half, **ends)

    @property
    def machine(self) -> Machine:
        return Machine(self.execute, lambda: kernels.backend("numpy"), 2, self.lines.append)


def items(one: Experiment, left: Left) -> list[Item]:
    blocks = [block for part in one.packs() for block in part.blocks if left(block.path)]
    return [Item("trainings", 36e-9 * sum(block.work for block in blocks))]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study with a pilot of 64 replicas, on a machine of a known speed, for fewer rounds than usual."""
    monkeypatch.setattr(adaptive, "ROUNDS", ROUNDS)
    monkeypatch.setattr(experiments.Trainings, "pace", lambda *_: Pace("core", 36.0, items=items))
    made = made_up.make_study(**SIZE)
    made_up.write_results(made, tmp_path / made.name)
    return made


def test_rounds_go_on_until_the_half_width_is_measured(tmp_path: Path, study: Study) -> None:
    """Also where the plan takes trainings to be enough, since the scatter that they have is what was made up."""
    bench = Bench(tmp_path, [0.12, 0.09, 0.079])
    reach(study, tmp_path, ASKED, bench.machine)
    assert len(bench.replicas) == 3
    for before, after in zip([(64,) * 4, *bench.replicas], bench.replicas, strict=False):
        assert all(old <= new and new % 32 == 0 for old, new in zip(before, after, strict=True))
        assert before != after
    assert "expected, from trainings: ± " in bench.lines[0]
    assert bench.lines[0].startswith("--resolve 0.08: round 1 of at most 3: replicas ")
    assert bench.lines[1] == "--resolve 0.08: round 1 gave ± 0.12 at beta=0.75; asked for ± 0.08"
    assert bench.lines[-1].startswith("--resolve 0.08: reached in round 3: ± 0.0395 at beta=0.6, ± 0.079 at beta=0.75;")
    chosen = studies.load(tmp_path / "made-up" / "resolved.yaml")
    assert chosen.training.replicas == bench.replicas[-1]
    assert [plan.cell_id(chosen, c) for c in plan.cells(chosen)] == [plan.cell_id(study, c) for c in plan.cells(study)]


def test_an_interrupted_round_is_finished_first(tmp_path: Path, study: Study) -> None:
    """By the same command; one that asks for something else plans anew, from what exists."""
    bench = Bench(tmp_path, [0.12, 0.12, 0.079], stop=2)
    with pytest.raises(KeyboardInterrupt):
        reach(study, tmp_path, ASKED, bench.machine)
    later = Bench(tmp_path, [0.079])
    reach(study, tmp_path, ASKED, later.machine)
    assert later.replicas == [bench.replicas[-1]]
    for changed in (study, made_up.make_study(**SIZE, checkpoints="[0.0, 0.5, 2.0]")):
        rounds = adaptive.Rounds(changed, tmp_path, Asked(0.02, "output_fluctuation"), later.machine)
        assert rounds._continued() is None
    further = Bench(tmp_path, [0.019])
    reach(study, tmp_path, Asked(0.02, "output_fluctuation"), further.machine)
    assert sum(further.replicas[0]) > sum(later.replicas[0])


@pytest.mark.parametrize(
    ("bench", "asked", "rounds", "said"),
    [
        ({"half_widths": [0.12] * ROUNDS}, ASKED, ROUNDS, r"not reached in 3 rounds: ± 0\.12 at beta=0\.75; the same"),
        (
            {"half_widths": [0.12] * ROUNDS, "line_p": 0.001},
            ASKED,
            None,
            r"out of reach at beta=0\.75: the points follow no",
        ),
        (
            {"half_widths": [0.12] * ROUNDS, "note": "refused: 3 usable"},
            ASKED,
            None,
            r"out of reach at beta=0\.6: .*: 3 usable",
        ),
        ({"half_widths": [0.12]}, Asked(HALF, "output_fluctuation", 1e-6), 0, r"^--at-most 1e-06: replicas .* remain"),
        (
            {"half_widths": [0.12] * ROUNDS},
            Asked(HALF, "output_fluctuation", 0.002),
            None,
            r"^--at-most 0\.002: replicas",
        ),
    ],
)
def test_other_endings_are_one_line(
    tmp_path: Path, study: Study, bench: dict[str, object], asked: Asked, rounds: int | None, said: str
) -> None:
    made = Bench(tmp_path, **bench)
    with pytest.raises(StudyError, match=said) as caught:
        reach(study, tmp_path, asked, made.machine)
    assert "\n" not in str(caught.value)
    assert len(made.replicas) == (rounds if rounds is not None else len(made.replicas))
    assert rounds is not None or 0 < len(made.replicas) < ROUNDS


def test_the_limits_own_error_is_out_of_reach(tmp_path: Path, study: Study) -> None:
    """Of the quantity that is held against the limit."""
    made_up.write_results(study, tmp_path / study.name, limit_error=0.05)
    bench = Bench(tmp_path, [])
    with pytest.raises(StudyError, match=r"out of reach at beta=0\.\d+: .* the limit's own error leaves"):
        reach(study, tmp_path, Asked(0.001, "output_rms"), bench.machine)
    assert not bench.replicas


@pytest.mark.parametrize(
    ("change", "quantity", "words"),
    [
        ({}, "sgd_noise", r"^--quantity sgd_noise: is not a quantity in N of this study; allowed: output_rms, "),
        ({"richness": "[0.5]", "beta": "null"}, "output_rms", r"^--quantity output_rms: is not a quantity in N"),
        ({"steps": "[16]"}, "output_rms", r"made-up.yaml: training has no ladder K = N to resolve"),
        ({"width": "[64, 128, 256]"}, "output_rms", r"made-up.yaml: 3 widths with K = N at beta=0\.6 have no exponent"),
        (
            {"chain": "{kind: linear-gaussian, a: 0.5, q: 1.0}"},
            "output_rms",
            r"has no trainings to learn the scatter from; run a pilot",
        ),
    ],
)
def test_what_has_no_exponent_is_refused(
    tmp_path: Path, study: Study, change: dict[str, str], quantity: str, words: str
) -> None:
    """The last is another study, whose trainings do not count."""
    bench = Bench(tmp_path, [])
    with pytest.raises(StudyError, match=words) as caught:
        reach(made_up.make_study(**{**SIZE, **change}), tmp_path, Asked(HALF, quantity), bench.machine)
    assert "\n" not in str(caught.value)
    assert not bench.replicas


def test_a_file_of_the_user_in_its_place_is_kept(tmp_path: Path, study: Study) -> None:
    own = tmp_path / study.name / "resolved.yaml"
    own.write_text("name: made-up\n")
    with pytest.raises(StudyError, match=r"resolved.yaml: is where run --resolve keeps replicas, .*; move it"):
        reach(study, tmp_path, ASKED, Bench(tmp_path, []).machine)
    assert own.read_text() == "name: made-up\n"


def test_a_stage_of_the_users_file_names_the_other(tmp_path: Path, study: Study) -> None:
    reach(study, tmp_path, ASKED, Bench(tmp_path, [0.07]).machine)
    asked, chosen = experiments.of(study, tmp_path), tmp_path / study.name / "resolved.yaml"
    with pytest.raises(StudyError, match=f"chosen other replicas: give {chosen} as the study, or rnnlimits run"):
        due.require(asked, asked.layout.rates_h5)
    due.require(experiments.of(studies.load(chosen), tmp_path), asked.layout.rates_h5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--resolve", "0"], "'0' is not a number above 0"),
        (["--resolve", "-0.1"], "'-0.1' is not a number above 0"),
        (["--resolve", "wide"], "'wide' is not a number above 0"),
        (["--resolve", "0.1", "--at-most", "0"], "'0' is not a number above 0"),
        (["--quantity", "drift"], "--quantity: needs --resolve"),
        (["--at-most", "2"], "--at-most: needs --resolve"),
        (["--resolve", "0.1", "--profile", "slurm"], "--resolve: trains on this machine"),
        (["--resolve", "0.1", "--", "--dry-run"], "--resolve: takes no arguments for Snakemake (found --dry-run)"),
        (["--resolve", "0.1", "--quantity", "none"], "--quantity none: is not a quantity in N of this study"),
    ],
)
def test_bad_words_are_refused(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "made-up.yaml"
    path.write_text(studies.to_yaml(made_up.make_study()))
    try:
        code = entry.main(["run", str(path), "--backend", "numpy", *words])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert said in err


def test_a_study_of_another_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert entry.main(["run", "rntk", "--resolve", "0.1"]) == 2
    assert "experiment is rntk, which has no replicas to resolve" in capsys.readouterr().err


# --- trainings -------------------------------------------------------------------------------------------------


class Killed(Exception):
    """As by a signal."""


class Trained:
    """Executes a study in this process, up to its rates; checks that no shard is written twice."""

    def __init__(self, results: Path, stop: int = 0) -> None:
        from rnnlimits.ranks import parallel

        self.results, self.stop, self.comm, self.be = results, stop, parallel.world(), kernels.backend("host")
        self.replicas: list[tuple[int, ...]] = []
        self.shards: dict[Path, tuple[int, str]] = {}
        self.lines: list[str] = []

    def __call__(self, study: Study, path: Path, targets: Sequence[str] = (), told: bool = False) -> None:
        experiment = experiments.of(studies.load(path), self.results)
        self.replicas += [] if targets else [study.training.replicas]
        packs = {part.name for part in experiment.packs()}
        for part in experiment.parts():
            if part.rule in targets or not targets:
                part.run(self.comm, self.be)
                self.look()
                if part.name in packs and len(self.replicas) == self.stop:
                    raise Killed
        for step in experiment.steps():
            if step.name == "limit":
                step.run(lambda: self.be)
        if not targets:
            self.rates(studies.load(path))

    def rates(self, study: Study) -> None:
        """The rates of one quantity, in place of all."""
        layout, quantity = Layout.of(study, self.results), design.quantity_of(study, ASKED.quantity)
        read, (ladder,) = Reader(study, layout), adaptive.ladders_of(study)
        drawn = Bootstrap(lambda units, n: self.be.uniforms(study.seed, Stream.BOOTSTRAP, units.astype(np.uint32), n))
        rows = list(training_rate(quantity, ladder, read.design, read, drawn))
        ratefile.write_h5(layout.rates_h5, {**store.provenance(study), "backend": "host", "device": ""}, rows)

    def look(self) -> None:
        """Compare the shards with those seen before."""
        found = {
            shard: (shard.stat().st_mtime_ns, hashlib.sha256(shard.read_bytes()).hexdigest())
            for shard in (self.results / "adaptive" / "shards").rglob("*.h5")
        }
        assert found.items() >= self.shards.items()
        self.shards = found

    @property
    def machine(self) -> Machine:
        return Machine(self, lambda: self.be, 2, self.lines.append)


CHANGES = {
    "name: predicted": "name: adaptive",
    "replicas: 256, replicas_per_block: 256": "replicas: 1024, replicas_per_block: 64",
    "beta: [0.9], width: [24, 32, 48, 64]": "beta: [0.75], width: [8, 12, 16, 24]",
}


@pytest.mark.needs_compiler
@pytest.mark.needs_mpi
def test_nothing_is_trained_twice(tmp_path: Path) -> None:
    """From predictions alone; killed within the second round, and resumed by the same command."""
    text = predicted_cases.STUDY
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    study, asked = studies.loads(text, tmp_path / "adaptive.yaml"), Asked(0.08, "output_fluctuation")
    first = Trained(tmp_path, stop=2)
    with pytest.raises(Killed):
        reach(study, tmp_path, asked, first.machine)
    assert "from predicted values: ± " in next(line for line in first.lines if "round 1 of" in line)
    assert all(count < 2048 for count in first.replicas[0])
    again = Trained(tmp_path)
    again.shards = first.shards
    reach(study, tmp_path, asked, again.machine)
    assert again.replicas[0] == first.replicas[-1] != first.replicas[0]
    chosen = studies.load(tmp_path / "adaptive" / "resolved.yaml")
    rows = ratefile.read(tmp_path / "adaptive" / "rates.h5", study_id=chosen.identity)
    (row,) = (one for one in rows if (one.quantity, one.estimator) == design.quantity_of(study, asked.quantity).key)
    assert 0.5 * (row.ci_high - row.ci_low) <= 0.08
    blocks = sum(count // 64 for count in chosen.training.replicas)
    assert len(list((tmp_path / "adaptive" / "shards").glob("N*/*.h5"))) == blocks
