"""Saved states: whatever interrupts a block, it ends with the bits of one that was never interrupted."""

from __future__ import annotations

import errno
import math
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
from emulation import emulated
from interrupted import Killed, OfTraining, OfTwin, Ticks
from processes import kill_all, processes
from processors import reference
from runs import ENVIRONMENT, HANG, MPIEXEC, PROGRAM, digests, run, write_study

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base import signals
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable, scales, snapshot, store
from rnnlimits.kernels.interface import Backend, State, Training
from rnnlimits.ranks import checkpoints, parallel
from rnnlimits.ranks.checkpoints import Pace
from rnnlimits.ranks.parallel import Stopped
from rnnlimits.results.inspection import hdf5_files, validate
from rnnlimits.study import Study
from rnnlimits.training import plan, train, twin

TEXT = """
name: cut
seed: 5
precision: {precision}
chain: {chain}
{target}
network: {{activation: {activation}, w: {{kind: gaussian}}, c: {{kind: uniform}}}}
training: {{beta: [0.75], width: [37], steps_per_time: [40], depth: [{depth}], replicas: 4, replicas_per_block: 4,
  horizon: 2.0, checkpoints: [{first}, 0.75, 2.0], loss_bins: 7, antithetic: {antithetic}, clip: {clip},
  update_b: {update_b}, kernel: {kernel}}}
probes: {{count: 3, length: 6}}
twin: {{follow: true}}
limit: {{nodes: 9}}
"""
PLAIN = {
    "precision": "float32", "chain": "{kind: coupled-tanh}", "target": "target: {sin_x: 1.0, z: 0.5}", "first": "0.0",
    "activation": "tanh", "depth": 1, "antithetic": "true", "clip": "0.05", "update_b": "true", "kernel": "true",
}  # fmt: skip
LINEAR = "{kind: linear-gaussian, a: [[0.5, 0.1, 0], [0, 0.3, 0.2], [0.1, 0, 0.4]], q: 1.0, dimension: 2}"
FINITE = "{kind: finite-state, transition: [[0.5, 0.5], [0.2, 0.8]], x: [1, -1], z: [0, 1]}"
DOUBLE = {"precision": "float64", "clip": "null"}
CASES: dict[str, dict[str, object]] = {
    "coupled-tanh": PLAIN,
    "linear-gaussian": {**PLAIN, **DOUBLE, "chain": LINEAR, "depth": 3, "antithetic": "false", "first": "0.25"},
    "finite-state": {**PLAIN, "chain": FINITE, "activation": "erf", "depth": 3, "kernel": "false"},
    "recorded": {
        **PLAIN,
        **DOUBLE,
        "chain": "",
        "target": "",
        "activation": "logistic",
        "update_b": "false",
        "kernel": "false",
    },
}
BACKENDS: dict[str, Callable[[], Backend]] = {
    "numpy": lambda: kernels.backend("numpy"),
    "host": lambda: kernels.backend("host"),
    "device": emulated,
}
every_backend = pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=[] if name == "numpy" else pytest.mark.needs_compiler)
        for name, make in BACKENDS.items()
    ],
)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many in each training: 8 8 8 6 steps to the second checkpoint, 8 8 8 8 8 8 2 to the last."""
    monkeypatch.setattr(train, "MOST_STEPS", 8)
    monkeypatch.setattr(twin, "MOST_STEPS", 8)


def study_of(case: str, folder: Path) -> Study:
    options = dict(CASES[case])
    if case == "recorded":
        rows = "\n".join(str(np.sin(0.7 * k) + 0.1 * (k % 5)) for k in range(60))
        (folder / "series.csv").write_text(f"x\n{rows}\n")
        options["chain"] = f"{{kind: recorded, file: {folder / 'series.csv'}, columns: [x]}}"
    return studies.loads(TEXT.format(**options), str(folder / "cut.yaml"))


Work = type[OfTraining]


def undisturbed(work: Work, study: Study, be: Backend, folder: Path) -> str:
    calm = work(study, be, folder / "calm")
    calm.live(Ticks(), Pace(math.inf))
    assert not calm.place.path.exists()
    return store.digest_of(calm.shard)


# --- back ends ---------------------------------------------------------------------------------------------


def combinations() -> Iterator[object]:
    """Trainings of every case on every back end; of twins one case everywhere, the others on the host."""
    for case, (name, make), work in product(CASES, BACKENDS.items(), (OfTraining, OfTwin)):
        if work is OfTraining or case == "coupled-tanh" or name == "host":
            marks = [] if name == "numpy" else pytest.mark.needs_compiler
            yield pytest.param(work, case, make, id=f"{work.kind}-{case}-{name}", marks=marks)


@pytest.mark.parametrize(("work", "case", "make"), list(combinations()))
def test_cut_everywhere_it_ends_the_same(work: Work, case: str, make: Callable[[], Backend], tmp_path: Path) -> None:
    """Killed at every third segment (and so set back by one), or left in peace at every fourth."""
    study = study_of(case, tmp_path)
    wanted, segments = undisturbed(work, study, make(), tmp_path), 12 if "0.25" in CASES[case]["first"] else 11
    for at, by in ((3, Killed), (4, Stopped)):
        lives: list[Ticks] = []
        while not lives or len(lives[-1].amounts) == at:
            done = work(study_of(case, tmp_path), make(), tmp_path)  # nothing of an earlier life is left but the file
            lives.append(Ticks(at, by))
            try:
                done.live(lives[-1], Pace(0.0 if by is Killed else math.inf))
            except (Killed, Stopped):
                continue
            break
        assert store.digest_of(done.shard) == wanted
        gained = at - 1 if by is Killed else at
        assert len(lives) >= segments // at
        assert [life.earlier for life in lives] == [
            sum(sum(before.amounts[:gained]) for before in lives[:i]) for i in range(len(lives))
        ]
        assert lives[-1].earlier + sum(lives[-1].amounts) == done.total
        checkpoints.forget(done.place.path)


@every_backend
def test_a_trainers_state_is_all_there_is(make: Callable[[], Backend]) -> None:
    """Between two segments, with an update pending; of foreign shape it is refused."""
    training = Training(21, 2, 0.75, 10, "erf", depth=3, precision="float32")
    rng = np.random.default_rng(1)
    w, b, c = rng.normal(size=(2, 21, 2)), rng.normal(size=(2, 21)), rng.normal(size=(2, 21))
    x, y = rng.normal(size=(2, 12, 2)), rng.normal(size=(2, 12))
    one, other = make().trainer(training, 2), make().trainer(training, 2)
    one.fill_from(0, *(make().array(a) for a in (w, b, c)))
    one.run(x[:, :6], y[:, :6])
    state = one.state()
    other.fill_from(0, *(make().array(-a) for a in (w, b, c)))  # what was there before must not matter
    other.run(x, y)
    other.restore(State(state.units.copy(), state.words.copy()))
    kept = state.units.copy()
    assert np.array_equal(make().numpy(one.run(x[:, 6:], y[:, 6:])), make().numpy(other.run(x[:, 6:], y[:, 6:])))
    assert np.array_equal(state.units, kept)  # a copy
    for trainer in (one, other):
        trainer.settle()
    for found, wanted in zip(one.state(), other.state(), strict=True):
        assert np.array_equal(found, wanted)
    wrong = State(state.units[:, :-1], state.words), State(state.units.astype(np.float16), state.words)
    for bad in wrong:
        with pytest.raises(ValueError, match="units: float"):
            other.restore(bad)


@pytest.mark.needs_compiler
def test_host_and_device_keep_the_same_fields() -> None:
    """In an order that vectors and teams do not show in."""
    training = Training(37, 2, 0.75, 10, "erf", depth=2)
    rng = np.random.default_rng(2)
    w, b, c = rng.normal(size=(3, 37, 2)), rng.normal(size=(3, 37)), rng.normal(size=(3, 37))
    x, y = rng.normal(size=(3, 5, 2)), rng.normal(size=(3, 5))
    found = []
    for be in (kernels.backend("host"), emulated()):
        trainer = be.trainer(training, 3)
        trainer.fill_from(0, *(be.array(a) for a in (w, b, c)))
        trainer.run(x, y)
        found.append(trainer.state())
    np.testing.assert_allclose(found[0].units, found[1].units, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[0].words, found[1].words, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(found[0].units[:, :2], w.swapaxes(1, 2))  # W at time 0 is the first field


# --- when --------------------------------------------------------------------------------------------------


def test_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [1000.0], signals.Asked()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    now[0] += 59
    assert not pace.due(asked)
    now[0] += 1
    assert pace.due(asked)
    pace.last, pace.cost = now[0], 2.0  # so slow a disk is written to every 200 s
    now[0] += 199
    assert not pace.due(asked)
    asked.saves = 1
    assert pace.due(asked)
    pace.answered = 1
    assert not pace.due(asked)
    now[0] += 1
    assert pace.due(asked)


@pytest.mark.parametrize(
    ("text", "interval"), [("", 60.0), ("off", math.inf), ("0", 0.0), ("2.5", 2.5), ("inf", math.inf)]
)
def test_the_variable_decides(text: str, interval: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checkpoints.SECONDS, text)
    assert Pace.of_environment().interval == interval


@pytest.mark.parametrize("text", ["often", "-1", "nan", "1 h"])
def test_a_bad_variable_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checkpoints.SECONDS, text)
    with pytest.raises(StudyError, match=f"^{checkpoints.SECONDS}: '{text}' is no number of seconds; allowed: "):
        Pace.of_environment()


@pytest.mark.needs_mpi
def test_a_bad_variable_is_one_line(tmp_path: Path) -> None:
    settings = {**ENVIRONMENT, checkpoints.SECONDS: "often"}
    done = run("train", write_study(tmp_path), "--results", tmp_path, check=False, ranks=2, env=settings)
    assert done.returncode == 2
    assert done.stderr.startswith(f"rnnlimits: {checkpoints.SECONDS}: 'often' is no number of seconds")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("cost", "saved"), [(0.0, True), (10.0, False)])
def test_a_failed_rank_is_not_kept_waiting(cost: float, saved: bool, tmp_path: Path) -> None:
    """Who leaves because another one failed saves what is saved in no time, and nothing else."""

    class Failed(Ticks):
        def __call__(self, amount: int) -> None:
            raise Stopped(in_peace=False)

    work = OfTraining(study_of("coupled-tanh", tmp_path), reference, tmp_path)
    with pytest.raises(Stopped) as left:
        work.live(Failed(), Pace(math.inf, cost=cost))
    assert work.place.path.exists() == saved
    assert left.value.saved == (8 * 37 * 4 if saved else 0)


# --- states that cannot be used ----------------------------------------------------------------------------


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def rewrite(path: Path, change: Callable[[h5py.File], object]) -> None:
    """Another file of this software under that name, sealed and whole."""
    with h5py.File(path) as old:
        attrs = dict(old.attrs)
        kept = [name for name in old if old[name].attrs["long_name"] != f"index of {name}"]
        arrays = {name: (old[name][()], scales.dims_of(old[name])) for name in kept}
    kind = attrs.pop("kind")
    own = {name: value for name, value in attrs.items() if name not in ("format", "format_version", "complete")}
    with store.atomic_h5(path, kind, own) as new:
        for name, (values, dims) in arrays.items():
            store.put(new, name, values, dims, "1", "something")
        change(new)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (damage, "is damaged"),
    "truncated": (lambda path: os.truncate(path, 5000), "is truncated or damaged"),
    "empty": (lambda path: os.truncate(path, 0), "is empty"),
    "not HDF5": (lambda path: path.write_text("hello"), "is not an HDF5 file"),
    "another device": (
        lambda path: rewrite(path, lambda file: file.attrs.__setitem__("rounding", "abacus")),
        "rounds otherwise (abacus, here NumPy",
    ),
    "another cell": (
        lambda path: rewrite(path, lambda file: file.attrs.__setitem__("cell_id", "0123456789ab")),
        "is from another study (cell_id 0123456789ab",
    ),
    "another block": (
        lambda path: rewrite(path, lambda file: file.attrs.__setitem__("first", np.int64(4))),
        "first 4, expected 0",
    ),
    "another version": (
        lambda path: rewrite(path, lambda file: file.attrs.__setitem__("state_version", np.int64(99))),
        "state_version 99, expected 1",
    ),
}


@pytest.mark.parametrize("how", BAD)
def test_a_state_that_cannot_be_used_is_set_aside(how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = study_of("coupled-tanh", tmp_path)
    wanted = undisturbed(OfTraining, study, reference, tmp_path)
    work = OfTraining(study, reference, tmp_path)
    with pytest.raises(Stopped):
        work.live(Ticks(6, Stopped), Pace(math.inf))
    act, says = BAD[how]
    act(work.place.path)
    ticks = Ticks()
    work.live(ticks, Pace(math.inf))
    assert store.digest_of(work.shard) == wanted
    assert ticks.earlier == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"{work.place.path}: this saved state ")
    assert says in line
    assert line.endswith("; the block starts anew")
    assert not work.place.path.exists()


def test_rewriting_alone_sets_nothing_aside(tmp_path: Path) -> None:
    """Or the test above could not tell why a state was refused."""
    work = OfTraining(study_of("coupled-tanh", tmp_path), reference, tmp_path)
    with pytest.raises(Stopped):
        work.live(Ticks(6, Stopped), Pace(math.inf))
    rewrite(work.place.path, lambda file: None)
    ticks = Ticks()
    work.live(ticks, Pace(math.inf))
    assert ticks.earlier == 46 * 37 * 4


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_a_state_that_the_system_cannot_read_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    work = OfTraining(study_of("coupled-tanh", tmp_path), reference, tmp_path)
    with pytest.raises(Stopped):
        work.live(Ticks(6, Stopped), Pace(math.inf))

    def fails(path: Path) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(snapshot, "_bytes", fails)
    with pytest.raises(StudyError, match=f"cannot be read: {os.strerror(number)}"):
        work.live(Ticks(), Pace(math.inf))
    assert work.place.path.exists()


def test_a_full_disk_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    study = study_of("coupled-tanh", tmp_path)
    wanted = undisturbed(OfTraining, study, reference, tmp_path)
    work, writes, real = OfTraining(study, reference, tmp_path), [], durable._write_synced

    def full(path: Path, pieces: object) -> None:
        if path.parent == work.place.path.parent:
            writes.append(path)
            if len(writes) < 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(path, pieces)

    monkeypatch.setattr(durable, "_write_synced", full)
    with pytest.raises(Killed):
        work.live(Ticks(6), Pace(0.0))
    (line,) = capfd.readouterr().err.splitlines()  # of three failures
    assert line == (
        f"warning: {work.place.path}: cannot be written: No space left on device; "
        "the work goes on, its state is saved later"
    )
    assert len(writes) == 5
    ticks = Ticks()
    work.live(ticks, Pace(0.0))
    assert ticks.earlier == 38 * 37 * 4
    assert store.digest_of(work.shard) == wanted


def test_out_of_memory_while_saving_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(checkpoints, "put", refuse)
    work = OfTraining(study_of("coupled-tanh", tmp_path), reference, tmp_path)
    work.live(Ticks(), Pace(0.0))
    assert capfd.readouterr().err == "warning: not enough memory; the work goes on, its state is saved later\n"


# --- the stages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "block by block"])
@pytest.mark.parametrize("stage", ["train", "twin"])
def test_the_stage_goes_on_and_leaves_nothing_behind(
    stage: str, swept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    study = study_of("coupled-tanh", tmp_path)
    work = (OfTraining if stage == "train" else OfTwin)(study, reference, tmp_path)
    with pytest.raises(Stopped):
        work.live(Ticks(6, Stopped), Pace(math.inf))
    monkeypatch.setenv(checkpoints.SECONDS, "0")
    if not swept:
        monkeypatch.setattr(checkpoints, "forget_all", lambda folder: None)

    def go() -> str:
        if stage == "train":
            train.run(study, work.layout, plan.cells(study)[0].pack, parallel.world(), reference)
        else:
            twin.run(study, work.layout, None, parallel.world(), reference)
        return capfd.readouterr().err

    def nothing() -> bool:
        return not work.layout.states.exists() if swept else not list(state.parent.iterdir())

    state, shards = work.place.path, work.layout.shards
    kept = state.read_bytes()
    assert "going on with 1 block from saved states, 57% of their steps done" in go()  # 46 of 80
    assert nothing()
    # A state, and half a state, that were left beside a shard: of a rank that was killed between the two.
    (shard,) = [path for path in hdf5_files(shards) if path.name == state.name]
    assert shard.exists()
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_bytes(kept)
    state.with_name(f".{state.name}.part-0123").write_bytes(kept[:100])
    assert "going on" not in go()
    assert nothing()


def test_states_are_no_results(tmp_path: Path) -> None:
    """Lists of files leave them out, but they can be looked at."""
    study = study_of("coupled-tanh", tmp_path)
    work = OfTraining(study, reference, tmp_path)
    with pytest.raises(Stopped):
        work.live(Ticks(6, Stopped), Pace(math.inf))
    assert validate(work.place.path) == []
    assert hdf5_files(work.layout.states) == [work.place.path]
    shard = work.layout.shard(work.block, plan.cell_id(study, work.block.cell))
    shard.parent.mkdir(parents=True)
    shard.write_bytes(work.place.path.read_bytes())
    assert hdf5_files(work.layout.root) == hdf5_files(tmp_path) == [shard]


# --- signals -----------------------------------------------------------------------------------------------


def test_a_signal_saves_and_the_work_goes_on(tmp_path: Path) -> None:
    study = study_of("coupled-tanh", tmp_path)
    wanted = undisturbed(OfTraining, study, reference, tmp_path)
    work, seen = OfTraining(study, reference, tmp_path), []
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)]

    def train_it(_: int, tick: parallel.Ticker) -> None:
        class Signalled(Ticks):
            def __call__(self, amount: int) -> None:
                super().__call__(amount)
                if len(self.amounts) == 3:
                    os.kill(os.getpid(), signal.SIGUSR1)
                seen.append(work.place.path.exists())
                tick(amount)

        work.live(Signalled(asked=tick.asked), Pace(math.inf))

    parallel.each_block(parallel.world(), [work.total], train_it, "test", "unit-steps")
    assert seen == [False] * 3 + [True] * 8
    assert store.digest_of(work.shard) == wanted
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)] == before


def test_a_signal_too_late_to_be_answered_takes_its_usual_effect() -> None:
    received: list[int] = []
    kept = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        with signals.heard() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked.end
            assert not received
        assert received == [signal.SIGTERM]
        with signals.heard() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            asked.answered = True
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, kept)


# --- real processes ----------------------------------------------------------------------------------------

LONG = {"width": [1024], "replicas": 8, "replicas_per_block": 4, "horizon": 1600.0, "checkpoints": [0.0, 100.0, 1600.0]}
UNIT_STEPS = 1024 * 1024 * 1600 * 8  # two seconds of two cores


def start(study: Path, results: Path, every: str) -> subprocess.Popen[str]:
    command = [MPIEXEC, "-n", "2", *PROGRAM, "train", str(study), "--results", str(results), "--backend", "host"]
    settings = {**ENVIRONMENT, checkpoints.SECONDS: every}
    return subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_until(condition: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    for _ in range(2000):
        if condition():
            return
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.01)
    raise AssertionError("in vain")


def listening(results: Path) -> bool:
    """Have both ranks put their handler of SIGTERM in place?"""
    masks = []
    for rank in processes(results):
        try:
            status = Path(f"/proc/{rank}/status").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):  # a process of the launcher that has ended by now
            return False
        masks.append(int(re.search(r"^SigCgt:\s*(\w+)$", status, re.M)[1], 16) >> (signal.SIGTERM - 1) & 1)
    return masks == [1, 1]


def saved(results: Path) -> dict[str, int]:
    """Steps done, by block."""
    found = {}
    for path in results.glob("tiny/checkpoints/*/*.h5"):
        with h5py.File(path, locking=False) as file:
            found[path.name] = int(file.attrs["done"])
    return found


def further(results: Path, before: dict[str, int]) -> Callable[[], bool]:
    """Is more saved of both blocks than before?"""
    return lambda: len(now := saved(results)) == 2 and all(now[name] > before.get(name, 0) for name in now)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("calm")
    run("train", write_study(folder, training=LONG), "--results", folder, "--backend", "host", ranks=2)
    return digests(folder / "tiny")


def end_of(study: Path, results: Path, earlier: dict[str, int]) -> dict[str, str]:
    """Run to the end, from where it was; what is computed again is what was not saved, and no more."""
    done = run("train", study, "--results", results, "--backend", "host", ranks=2)
    share = sum(earlier.values()) / (2 * 1600 * 1024)
    assert f"going on with 2 blocks from saved states, {share:.0%} of their steps done" in done.stderr
    ours, before = re.search(r": (\S+) unit-steps in .* after (\S+) of an earlier run", done.stderr).groups()
    assert float(before) == pytest.approx(share * UNIT_STEPS, rel=1e-3)
    assert float(ours) == pytest.approx(UNIT_STEPS * (1 - share), rel=1e-3)
    assert not (results / "tiny" / "checkpoints").exists()
    return digests(results / "tiny")


@pytest.mark.needs_mpi
@pytest.mark.needs_compiler
def test_killed_at_random_moments_within_blocks(tmp_path: Path, calm: dict[str, str]) -> None:
    study, rng, before = write_study(tmp_path, training=LONG), random.Random(3), {}
    for _ in range(5):
        job = start(study, tmp_path, "0.03")
        wait_until(further(tmp_path, before), job)
        time.sleep(rng.uniform(0.0, 0.1))
        kill_all(job, tmp_path)
        assert further(tmp_path, before)()  # in each life than in the one before
        before = saved(tmp_path)
    assert not list(tmp_path.glob("tiny/shards/*/*.h5"))
    assert end_of(study, tmp_path, before) == calm


@pytest.mark.needs_mpi
@pytest.mark.needs_compiler
def test_signals_to_real_ranks(tmp_path: Path, calm: dict[str, str]) -> None:
    """SIGUSR1 to all: saved, and they go on. SIGTERM to one rank or the launcher, SIGINT to it: saved, and all end."""
    study = write_study(tmp_path, training=LONG)
    job = start(study, tmp_path, "off")
    wait_until(lambda: listening(tmp_path), job)
    time.sleep(0.2)
    assert saved(tmp_path) == {}
    job.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(saved(tmp_path)) == 2, job)
    first = saved(tmp_path)
    time.sleep(0.2)
    assert saved(tmp_path) == first
    for who, number in (("a rank", signal.SIGTERM), ("the launcher", signal.SIGTERM), ("the launcher", signal.SIGINT)):
        os.kill(job.pid if who == "the launcher" else processes(tmp_path)[0], number)
        assert job.wait(timeout=HANG) == 128 + number
        last = saved(tmp_path)
        assert all(last[name] > first[name] for name in first)
        kept = float(re.search(r"stopped by SIG[A-Z]+ after saving (\S+) unit-steps", job.stderr.read())[1])
        assert kept == pytest.approx(sum(last.values()) * 1024 * 4, rel=1e-3)
        first = last
        if number != signal.SIGINT:
            job = start(study, tmp_path, "off")
            wait_until(lambda: listening(tmp_path), job)
            time.sleep(0.2)
    assert end_of(study, tmp_path, last) == calm
