"""The workflow, run for real; and the rerun contract: what Snakemake says it would do after an edit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from runs import ENVIRONMENT, HANG, ROOT, digests, run, write_recorded, write_study

pytestmark = [pytest.mark.workflow, pytest.mark.needs_mpi]

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
STUDY = {"training": {"width": [16, 24, 33, 48], "replicas": 16, "replicas_per_block": 4}}
ALWAYS = {"all"}


def snakemake(folder: Path, study: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*SNAKEMAKE, "--configfile", str(study), *words]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)


def planned(folder: Path, study: Path, *words: str) -> set[str]:
    """The rules that a dry run would run."""
    done = snakemake(folder, study, "--dry-run", "--quiet", "host", *(words or ("--cores", "2")))
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^(?:local)?rule (\w+):$", done.stdout + done.stderr, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder in which the tiny study has run to its end, and its study file."""
    folder = tmp_path_factory.mktemp("workflow")
    study = write_study(folder, **STUDY)
    done = run("run", study, "--cores", 2, cwd=folder, env={**ENVIRONMENT, "RNNLIMITS_QUIET_SECONDS": "1"})
    assert "where to look" in done.stdout
    assert "at work for" not in done.stdout  # signs of life of the stages go to stderr and into the logs
    return folder, study


def test_everything_is_there_and_valid(finished: tuple[Path, Path]) -> None:
    folder, _ = finished
    results = folder / "results" / "tiny"
    names = {path.name for path in results.iterdir()}
    assert {
        "draw.h5",
        "limit.h5",
        "rates.h5",
        "rates.csv",
        "report.html",
        "figures",
        "train",
        "shards",
        "study.yaml",
        "logs",
    } <= names
    run("validate", results)
    # Snakemake keeps its own notes in the folder it was started in; everything else is in the results folder.
    assert {path.name for path in folder.iterdir()} == {"tiny.yaml", "results", ".snakemake"}


def test_the_plan_is_written_before_anything_is_worked_on(finished: tuple[Path, Path]) -> None:
    results = finished[0] / "results" / "tiny"
    first = min(path.stat().st_mtime_ns for path in (results / "shards").rglob("*.h5"))
    assert (results / "study.yaml").stat().st_mtime_ns < first


def test_the_report_tells_what_networks_cost(finished: tuple[Path, Path]) -> None:
    text = (finished[0] / "results" / "tiny" / "report.html").read_text()
    assert "core-hours);" in text
    assert 'href="train/N00048-K00048/beta0.75-depth1.h5"' in text


def test_snakemakes_own_report_has_captions(finished: tuple[Path, Path]) -> None:
    folder, study = finished
    done = snakemake(folder, study, "--report", "own.html")
    assert done.returncode == 0, done.stderr
    text = (folder / "own.html").read_text()
    (folder / "own.html").unlink()
    for word in ("rates.csv", "report.html", "drift.svg", "hollow ones are not in the fit"):
        assert word in text


def test_the_resolved_study_is_the_study(finished: tuple[Path, Path]) -> None:
    folder, study = finished
    resolved = folder / "results" / "tiny" / "study.yaml"
    first, second = (run("plan", path, "--backend", "numpy").stdout for path in (study, resolved))
    shown = [text.split("study tiny")[1].split("\nwork ")[0] for text in (first, second)]  # then follow times
    assert shown[0] == shown[1]


def test_quick_gives_the_files_of_an_ordinary_run_and_keeps_what_exists(finished: tuple[Path, Path]) -> None:
    folder, study = finished
    ordinary, quick = folder / "results" / "tiny", folder / "results" / "quick" / "tiny"
    kept = next(path.relative_to(ordinary) for path in sorted((ordinary / "shards").glob("N00033*/*.h5")))
    (quick / kept).parent.mkdir(parents=True)
    shutil.copy2(ordinary / kept, quick / kept)
    begun = (quick / kept).stat().st_mtime_ns
    try:
        done = run("run", "--quick", study, "--results", quick.parent, cwd=folder)
        assert "where to look" in done.stdout
        assert "report.html" not in done.stdout
        assert digests(ordinary, ".") == {
            path.replace("/quick/", "/"): digest for path, digest in digests(quick, ".").items()
        }
        assert (quick / "rates.csv").read_bytes() == (ordinary / "rates.csv").read_bytes()
        assert (quick / kept).stat().st_mtime_ns == begun
        assert planned(folder, study, "--cores", "2", "--config", f"results={quick.parent}") - ALWAYS == {
            "figures",
            "page",
        }
    finally:
        shutil.rmtree(quick.parent)


def test_nothing_to_do_the_second_time(finished: tuple[Path, Path]) -> None:
    assert planned(*finished) == set()


@pytest.mark.parametrize("words", [("--cores", "1"), ("--cores", "2", "--set-resources", "draw:tasks=3")])
def test_ranks_rerun_nothing(finished: tuple[Path, Path], words: tuple[str, ...]) -> None:
    assert planned(*finished, *words) == set()


def test_comments_and_formatting_rerun_nothing(finished: tuple[Path, Path]) -> None:
    folder, study = finished
    kept = study.read_text()
    try:
        study.write_text("# a remark\n" + yaml.safe_dump(yaml.safe_load(kept), default_flow_style=True))
        assert planned(folder, study) == set()
    finally:
        study.write_text(kept)


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"width": [16, 24, 33, 48, 60]}, {"train_N00060_K00060", "rates", "figures", "page", "study"}),
        ({"replicas_per_block": 8}, {"page", "study"}),
        (
            {"beta": [0.75, 0.8]},
            {f"train_N000{n}_K000{n}" for n in (16, 24, 33, 48)} | {"rates", "figures", "page", "study"},
        ),
    ],
    ids=["another width", "chunk size", "another beta"],
)
def test_an_edit_reruns_what_it_touches(
    finished: tuple[Path, Path], changes: dict[str, object], rules: set[str]
) -> None:
    folder, study = finished
    kept = study.read_text()
    try:
        write_study(folder, training={**STUDY["training"], **changes})
        assert planned(folder, study) - ALWAYS == rules
    finally:
        study.write_text(kept)


def test_twins_are_added_without_training_again(finished: tuple[Path, Path]) -> None:
    folder, study = finished
    kept = study.read_text()
    try:
        write_study(folder, twin={"follow": True, "steps_per_time": [64], "paths": 4}, **STUDY)
        twins = {f"twin_K000{k}" for k in (16, 24, 33, 48, 64)}
        assert planned(folder, study) - ALWAYS == twins | {"poisson", "rates", "figures", "page", "study"}
    finally:
        study.write_text(kept)


def test_another_seed_reruns_all(finished: tuple[Path, Path]) -> None:
    folder, study = finished
    kept = study.read_text()
    try:
        write_study(folder, seed=8, **STUDY)
        trains = {f"train_N000{n}_K000{n}" for n in (16, 24, 33, 48)}
        assert planned(folder, study) - ALWAYS == trains | {
            "draw",
            "limit",
            "poisson",
            "rates",
            "figures",
            "page",
            "study",
        }
    finally:
        study.write_text(kept)


def test_a_second_run_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, training={"width": [512], "replicas": 16, "horizon": 100.0, "checkpoints": [100.0]})
    command = [sys.executable, "-m", "rnnlimits", "run", str(study)]
    quiet = subprocess.DEVNULL
    first = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        while not (tmp_path / "results" / "tiny" / ".locks" / "run.lock").exists():
            time.sleep(0.05)
        time.sleep(0.2)
        second = run("run", study, check=False, cwd=tmp_path)
        assert second.returncode == 2
        assert "run is being run by process" in second.stderr
        assert len(second.stderr.splitlines()) == 1
    finally:
        os.killpg(first.pid, signal.SIGINT)
        first.wait(timeout=HANG)


SLOW_TRAINING = {"replicas": 16, "replicas_per_block": 2, "horizon": 60.0, "checkpoints": [60.0]}
SLOW = {"training": {"width": [16, 24, 33, 400], **SLOW_TRAINING}}


def start(folder: Path, study: Path) -> subprocess.Popen[bytes]:
    """`rnnlimits run` in the background, with some of its shards written."""
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", "rnnlimits", "run", str(study), "--results", "2024", "--cores", "2"]
    job = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=quiet, stderr=quiet, start_new_session=True)
    while len(list(folder.glob("2024/tiny/shards/N*/*.h5"))) < 3:
        assert job.poll() is None
        time.sleep(0.02)
    return job


def at_work(study: Path) -> list[int]:
    """Every process that has the study on its command line."""
    found = subprocess.run(["pgrep", "-f", str(study)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def finish(folder: Path, study: Path) -> dict[str, str]:
    """Run to the end; returns the digests of the ensembles."""
    done = run("run", study, "--results", "2024", "--cores", "2", cwd=folder)
    assert "where to look" in done.stdout
    return digests(folder / "2024" / "tiny")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the trainings alone, one after the other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run("train", write_recorded(folder, **SLOW), "--results", "2024", cwd=folder)
    return digests(folder / "2024" / "tiny")


def test_everything_killed_and_run_again(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    study = write_recorded(tmp_path, **SLOW)
    job = start(tmp_path, study)
    for process in at_work(study):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "2024" / "tiny" / "rates.csv").exists()
    assert finish(tmp_path, study) == undisturbed


def test_asked_to_end_it_ends_whole_and_goes_on_later(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    study = write_recorded(tmp_path, **SLOW)
    job = start(tmp_path, study)
    os.kill(job.pid, signal.SIGTERM)
    assert job.wait(timeout=HANG) == 130
    end = time.monotonic() + HANG
    while at_work(study) and time.monotonic() < end:
        time.sleep(0.1)
    assert at_work(study) == []
    assert not (tmp_path / "2024" / "tiny" / "rates.csv").exists()
    assert finish(tmp_path, study) == undisturbed


def test_a_killed_driver_still_holds_its_folder(tmp_path: Path) -> None:
    study = write_recorded(tmp_path, **SLOW)
    job = start(tmp_path, study)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    second = run("run", study, "--results", "2024", check=False, cwd=tmp_path)
    for process in at_work(study):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert second.returncode == 2
    assert "run is being run by process" in second.stderr


def test_a_stage_that_is_refused_its_input_is_one_line_and_exit_code_2(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, study = finished
    shutil.copytree(folder / "results", tmp_path / "results", symlinks=True)
    shard = sorted(tmp_path.glob("results/tiny/shards/N*/*.h5"))[0]
    os.truncate(shard, 1000)
    ensemble = sorted(tmp_path.glob("results/tiny/train/*/*.h5"))[0]
    ensemble.unlink()
    done = run("run", study, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert shard.name in done.stderr
    shard.unlink()
    run("run", study, cwd=tmp_path)
    assert ensemble.exists()


def test_options_for_snakemake_and_its_own_failures(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    assert run("run", study, "--", "--dry-run", check=False, cwd=tmp_path).returncode != 1
    done = run("run", study, "--", "--no-such-option", check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


def test_lint_and_format() -> None:
    lint = subprocess.run(
        [*SNAKEMAKE, "--configfile", "config/demo.yaml", "--workflow-profile", "none", "--lint"],
        env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "Congratulations" in lint.stdout + lint.stderr
    form = subprocess.run(
        ["snakefmt", "--check", "workflow"], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True
    )
    assert form.returncode == 0, form.stderr


def test_a_bad_study_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    study = write_study(tmp_path, training={"beta": [0.4]})
    done = snakemake(tmp_path, study, "--cores", "1")
    assert done.returncode != 0
    assert "training.beta[0] is 0.4" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
