"""A study as jobs: what a site file may say, how parts are packed, and the very lines that are submitted."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from runs import ENVIRONMENT, HANG, ROOT, TINY_RNTK, digests, run, write_rntk, write_study

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.cluster import endings, leftovers, site, submission
from rnnlimits.cluster.jobs import jobs, megabytes_per_core, minutes, shares
from rnnlimits.cluster.site import Site
from rnnlimits.elman import plan as rntk_plan
from rnnlimits.elman.parts import chunk_megabytes
from rnnlimits.elman.train import World, block_values
from rnnlimits.kernels import processor
from rnnlimits.study import RntkStudy, load, load_any, loads_any
from rnnlimits.training import plan

FULL = load(ROOT / "config" / "full.yaml")
RNTK = load_any(ROOT / "config" / "rntk-rates.yaml")
assert isinstance(RNTK, RntkStudy)
WHOLE, NETWORKS = experiments.of(FULL), experiments.of(RNTK)
GOLDEN = Path(__file__).parent.parent / "golden"
SITES = {  # site: the profile that it goes with
    "srun-pmi2": "slurm",
    "srun-pmix": "slurm",
    "mpiexec": "slurm",
    "gpu-4": "slurm-gpu",
    "gpu-8": "slurm-gpu",
}


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run in: tables go into blocks where there is no room for them."""
    monkeypatch.setenv("COLUMNS", "120")


def profile(folder: Path, name: str) -> Path:
    """A profile with one of the sites in it."""
    for file, source in (("config.yaml", f"{SITES[name]}/config.yaml"), ("site.yaml", f"sites/{name}.yaml")):
        (folder / file).write_text((ROOT / "cluster" / source).read_text())
    return folder


# ------------------------------------------------------------------------------------------------- site files


@pytest.mark.parametrize("folder", ["slurm", "slurm-gpu", "slurm-loopback"])
def test_the_projects_profiles_are_good(folder: str) -> None:
    using = submission.profile(ROOT / "cluster" / folder)
    assert using.requeue
    assert submission.sbatch_line(jobs(WHOLE, using.site)[0], using).startswith("sbatch ")


def test_the_first_template_is_the_one_in_place() -> None:
    for name, template in (("slurm", "srun-pmi2"), ("slurm-gpu", "gpu-4")):
        read = [site.load(ROOT / "cluster" / path) for path in (f"{name}/site.yaml", f"sites/{template}.yaml")]
        assert read[0].model_dump() == read[1].model_dump()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ranks_per_nodes: 4", "ranks_per_nodes is not a key; did you mean ranks_per_node?"),
        ("nodes: 2", "ranks_per_node is missing"),
        ("ranks_per_node: 0", "ranks_per_node is 0; allowed: a whole number from 1"),
        ("{ranks_per_node: 4, launch: ssh}", "launch is 'ssh'; allowed: srun-pmi2, srun-pmix or mpiexec"),
        ("{ranks_per_node: 4, launch: 'srun; rm -rf /'}", "launch is 'srun; rm -rf /'; allowed"),
        ("{ranks_per_node: 4, shortest: 90}", "shortest, minutes, longest are 90, 30, 1440"),
        ("{ranks_per_node: 4, margin: 0.5}", "margin is 0.5; allowed: 1 or more"),
        ("{ranks_per_node: 4, speed: {float32: -1}}", "speed.float32 is -1; allowed: a finite number above 0"),
        ("!!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
        ("{ranks_per_node: 4, flops: {float16: 1}}", "flops.float16 is not a key; did you mean flo"),
        ("[1, 2]", "allowed: keys and values"),
        ("a: [", "line 1"),
    ],
)
def test_a_bad_site_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        site.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.yaml", "site.yaml"])
def test_a_profile_lacks_a_file(tmp_path: Path, file: str) -> None:
    (profile(tmp_path, "srun-pmi2") / file).unlink()
    done = run("plan", ROOT / "config" / "demo.yaml", "--cluster", tmp_path, check=False)
    assert done.returncode == 2
    assert re.fullmatch(rf"rnnlimits: {tmp_path}/{file}: cannot be read: No such file.*\n", done.stderr)


# ----------------------------------------------------------------------------------------------------- packing


def small(**changes: object) -> Site:
    return Site.model_validate({"ranks_per_node": 8, "nodes": 4, "minutes": 20, "shortest": 5, **changes})


@pytest.mark.parametrize("minutes_wanted", [1, 10, 60, 600])
@pytest.mark.parametrize("ranks", [1, 4, 64])
def test_every_part_is_in_one_job_and_in_order(ranks: int, minutes_wanted: int) -> None:
    using = small(ranks_per_node=ranks, minutes=minutes_wanted, shortest=1)
    packed = [part.name for job in jobs(WHOLE, using) for part in job.parts]
    assert packed == ["draw", *plan.packs(FULL)]
    for job in jobs(WHOLE, using):
        assert job.nodes <= using.nodes
        assert job.ranks_per_node <= ranks
        assert job.ranks > 1 or ranks == 1


@pytest.mark.parametrize("speed", [1e8, 1e9, 1e10])
def test_no_job_is_shorter_than_the_shortest_unless_it_is_alone(speed: float) -> None:
    using = small(speed={"float32": speed, "float64": speed})
    every = jobs(WHOLE, using)
    assert len(every) > 1 or sum(job.work for job in every) < 60 * using.minutes * using.ranks_per_node
    for job in every:
        assert job.work / job.ranks >= 60 * using.shortest or len(every) == 1
        assert job.work / job.ranks <= 60 * using.minutes or job.ranks == using.nodes * using.ranks_per_node


def test_expected_lengths_follow_from_the_unit_steps() -> None:
    using = small(speed={"float32": 1e9, "float64": 1e9})
    found = {part.name: part for part in shares(WHOLE, using)}
    cells = plan.packs(FULL)["N131072-K131072"]
    exact = sum(cell.replicas * cell.width * cell.steps_per_time * 2 for cell in cells) / 1e9
    assert found["N131072-K131072"].seconds == pytest.approx(exact, rel=1e-3)
    assert found["N131072-K131072"].block_seconds == pytest.approx(exact / 36, rel=1e-3)


def test_memory_follows_from_the_state() -> None:
    using = small()
    found = {part.name: part for part in shares(WHOLE, using)}
    state = 64 * 131072 * 4 * 8  # replicas, width, bytes, fields of a unit (w, b, c, their drifts, two stored)
    assert found["N131072-K131072"].megabytes - found["N00064-K00064"].megabytes == pytest.approx(
        1.5e-6 * state, rel=0.05
    )


def test_another_attempt_asks_for_more_and_never_for_more_than_is_allowed() -> None:
    using = small(longest=100)
    job = replace(jobs(WHOLE, using)[0], nodes=1, ranks_per_node=8)
    asked = [minutes(job, using, attempt) for attempt in (1, 2, 3, 9)]
    assert asked == sorted(asked)
    assert asked[-1] == 100
    assert megabytes_per_core(job, using, 2) == 2 * megabytes_per_core(job, using)


def test_a_study_without_widths_to_spare_is_one_job(tmp_path: Path) -> None:
    study = load(write_study(tmp_path))
    (only,) = jobs(experiments.of(study), small())
    assert only.ranks == 2


# ------------------------------------------------------------------------- networks of the recurrent NTK


@pytest.mark.parametrize("minutes_wanted", [1, 10, 600])
def test_every_pack_of_networks_is_in_one_job_and_in_order(minutes_wanted: int) -> None:
    every = jobs(NETWORKS, small(minutes=minutes_wanted, shortest=1))
    assert [part.name for job in every for part in job.parts] == list(rntk_plan.packs(RNTK))
    assert all(job.ranks > 1 for job in every)


def test_expected_lengths_of_networks_follow_from_the_multiplications() -> None:
    """n^2 of them and as many additions for each step of each sequence, forward and backward."""
    study = networks(fluctuation={"width": [4096], "replicas": 10}, sequences={"lengths": [50, 50]}, networks=[{}])
    (part,) = shares(experiments.of(study), small(speed={"float32": 1e9, "float64": 1e9}))
    assert part.seconds == pytest.approx(10 * 4 * 4096**2 * 100 / 5e9, rel=0.3)
    (own,) = shares(experiments.of(study), small(flops={"float64": 1e11}))
    assert own.seconds < part.seconds / 10


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_memory_holds_the_matrices_of_the_widest_networks(precision: str) -> None:
    """Three matrices of two layers, and one more while it is drawn in double precision."""
    sizes = {}
    for width in (16, 4096, 16384):
        deep = [{"activation": "erf", "layers": [2]}]
        study = networks(precision=precision, fluctuation={"width": [width], "replicas": 2}, networks=deep)
        (job,) = jobs(experiments.of(study), small(megabytes_per_rank=100))
        sizes[width] = megabytes_per_core(job, small(megabytes_per_rank=100))
    matrices = 1e-6 * (3 * int(precision.removeprefix("float")) / 8 + 8)
    assert sizes[16] < 500
    assert matrices * 4096**2 < sizes[4096] - sizes[16] < 2 * matrices * 4096**2
    assert sizes[16384] > 12 * (sizes[4096] - 400)


@pytest.mark.parametrize("kind", rntk_plan.KINDS)
@pytest.mark.parametrize("lengths", [[3], [100, 150]])
def test_memory_of_networks_is_what_they_take(kind: str, lengths: list[int]) -> None:
    ladder = {"width": [600], "replicas": 1}
    training = {**ladder, "steps": 2, "trained": 1} if kind == "descent" else None
    study = networks(
        fluctuation=ladder if kind == "kernel" else None, training=training, sequences={"lengths": lengths}
    )
    *_, cell = rntk_plan.cells(study)
    be, block = processor(), rntk_plan.Block(cell, 0, 1)
    shared = World.of(study, be)
    block_values(study, be, shared, block)  # what is imported or compiled at first use is not the block's
    tracemalloc.start()
    block_values(study, be, shared, block)
    peak = 1e-6 * tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.6 * chunk_megabytes(study, cell) < peak < 1.1 * chunk_megabytes(study, cell)


def test_ranks_that_need_much_memory_are_fewer_on_a_node() -> None:
    study = networks(fluctuation={"width": [16384], "replicas": 64}, sequences={"lengths": [40] * 10})
    using = small(ranks_per_node=32, megabytes_per_rank=2000)
    (job,) = jobs(experiments.of(study), using)
    assert (job.nodes, job.ranks_per_node) == (4, 4)
    assert job.ranks_per_node * megabytes_per_core(job, using) < 32 * 2000
    (alone,) = jobs(experiments.of(study), small(megabytes_per_rank=100))
    assert alone.ranks_per_node == 1


def test_networks_on_gpu_nodes_have_a_rank_for_each_core_and_no_gpu() -> None:
    given = small(gpus=True, ranks_per_node=4, cores_per_rank=8, megabytes_per_rank=32000)
    using = site.suited(given, NETWORKS)
    assert (using.ranks_per_node, using.cores_per_rank, using.megabytes_per_rank) == (32, 1, 4000)
    assert using.flop_per_second("float32") == 1e10  # not what a GPU's unit-steps would say
    for job in jobs(NETWORKS, using):
        assert "gres" not in submission.resources(job, using)
    assert site.suited(given, WHOLE) is given


def test_a_study_of_the_limit_alone_has_no_job_but_the_last() -> None:
    study = networks(fluctuation=None)
    using = submission.profile(ROOT / "cluster" / "slurm")
    assert jobs(experiments.of(study), using.site) == ()
    assert "0 jobs and one of the serial stages" in submission.report(experiments.of(study), using)
    assert submission.analysis_resources(experiments.of(study), using.site)["mem_mb_per_cpu"](None, 1) == 1500


def networks(**changes: object) -> RntkStudy:
    """A study of the recurrent NTK at initialisation."""
    study = loads_any(yaml.safe_dump({**TINY_RNTK, "bias": None, "training": None, **changes}), "tiny.yaml")
    assert isinstance(study, RntkStudy)
    return study


@pytest.mark.needs_mpi
def test_packs_worked_on_in_one_job_are_those_of_the_train_stage(tmp_path: Path) -> None:
    path = write_rntk(tmp_path)
    packs = ["kernel-n00008", "kernel-n00016", "descent-n00016"]
    run("work", path, *packs, "--results", tmp_path / "job", ranks=2)
    run("train", path, "--results", tmp_path / "local")
    for part in ("kernel", "descent"):
        found = digests(tmp_path / "job" / "tiny-rntk", part)
        assert list(found.values()) == list(digests(tmp_path / "local" / "tiny-rntk", part).values())
        assert found
    done = run("work", path, "draw", "--results", tmp_path / "job", check=False)
    assert done.returncode == 2
    assert done.stderr == f"rnnlimits: {path}: there is no part draw; allowed: {', '.join(packs)}\n"


# ------------------------------------------------------------------------------------------- submitted lines


@pytest.mark.parametrize("name", SITES)
def test_the_page_of_a_site_is_the_golden_one(tmp_path: Path, name: str) -> None:
    """To renew: rnnlimits plan config/full.yaml --cluster FOLDER, and look at every line that changed."""
    page = submission.report(WHOLE, submission.profile(profile(tmp_path, name)))
    require_golden(page.replace(str(tmp_path), "PROFILE"), f"{name}.txt")


@pytest.mark.parametrize("name", SITES)
def test_the_page_of_networks_is_the_golden_one(tmp_path: Path, name: str) -> None:
    """As above, with config/rntk-rates.yaml; no GPU is asked for."""
    page = submission.report(NETWORKS, submission.profile(profile(tmp_path, name)))
    require_golden(page.replace(str(tmp_path), "PROFILE"), f"rntk-{name}.txt")


def test_the_page_of_wide_networks_is_the_golden_one(tmp_path: Path) -> None:
    """Several jobs, over several nodes, with more memory than a core has."""
    study = networks(
        fluctuation={"width": [1024, 4096, 32768], "replicas": [65536, 4096, 512]},
        sequences={"lengths": [40] * 10},
        training={"width": [4096], "replicas": 512},
    )
    page = submission.report(experiments.of(study), submission.profile(profile(tmp_path, "srun-pmi2")))
    require_golden(page.replace(str(tmp_path), "PROFILE"), "rntk-wide.txt")


def require_golden(page: str, name: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("RNNLIMITS_RENEW_GOLDEN"):
        golden.write_text(page + "\n")
    assert page + "\n" == golden.read_text()


FAKE = {
    "sbatch": 'printf "%s\\n" "sbatch $*" >> "$FAKE_SLURM/lines"; cat > /dev/null; echo $$',
    "squeue": "exit 0",
    "scancel": "exit 0",
    "sinfo": "echo cpu",
    "sacct": "exit 0",
    "sacctmgr": "echo ci",
    "scontrol": "echo 'MaxArraySize = 1001'",
    "sshare": "echo ci",
}


@pytest.mark.workflow
@pytest.mark.needs_mpi
@pytest.mark.parametrize(
    ("name", "config"), [("srun-pmi2", "full"), ("gpu-4", "full"), ("srun-pmi2", "rntk-rates"), ("gpu-4", "rntk-rates")]
)
def test_what_snakemake_submits_is_what_the_plan_says(tmp_path: Path, name: str, config: str) -> None:
    """A sbatch that only writes down what it was given; then Snakemake is stopped."""
    fakes, own = tmp_path / "bin", tmp_path / "own profile"
    fakes.mkdir(), own.mkdir()
    for command, script in FAKE.items():
        (fakes / command).write_text(f"#!/bin/sh\n{script}\n")
        (fakes / command).chmod(0o755)
    profile(own, name)
    text = (own / "site.yaml").read_text()
    text = text.replace("minutes: 30 ", "minutes: 1 ").replace("shortest: 10 ", "shortest: 0 ")
    (own / "site.yaml").write_text(f"{text}flops: {{float32: 1.0e+9, float64: 1.0e+9}}\n")
    study = ROOT / "config" / f"{config}.yaml"
    wanted = run("plan", study, "--cluster", own).stdout.split("\n\n")[1].splitlines()
    environment = {**ENVIRONMENT, "PATH": f"{fakes}:{ENVIRONMENT['PATH']}", "FAKE_SLURM": str(tmp_path)}
    command = [sys.executable, "-m", "rnnlimits", "run", str(study), "--profile", str(own)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    lines = tmp_path / "lines"
    assert len(wanted) > 1
    for _ in range(600):
        if lines.exists() and len(lines.read_text().splitlines()) == len(wanted):
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    # Not asked to end: it would wait for answers that nobody gives.
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    os.killpg(int(child), signal.SIGKILL)
    process.communicate(timeout=HANG)
    found = {_plain(line) for line in lines.read_text().splitlines()}
    assert found == {_plain(line) for line in wanted}


def _plain(line: str) -> str:
    """Without the run's name, its log, its folder and the script; in which order they come does not matter."""
    words = shlex.split(line.removesuffix(" /dev/stdin").replace("/dev/stdin", ""))
    for option in ("--job-name", "--output", "-D"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return " ".join(sorted(words))


def test_one_rank_forgets_that_it_is_in_a_step_and_several_are_all_counted() -> None:
    one = replace(jobs(WHOLE, small())[0], nodes=1, ranks_per_node=1)
    assert submission.launcher(one, small()).startswith("env -u PMI_FD ")
    assert "mpi" not in submission.resources(one, small())
    line = submission.launcher(replace(one, nodes=2, ranks_per_node=3), small(launch="srun-pmix", cores_per_rank=5))
    assert line.startswith("srun --mpi=pmix ")
    for option in ("--nodes=2", "--ntasks=6", "--ntasks-per-node=3", "--cpus-per-task=5", "--kill-on-bad-exit=1"):
        assert option in line


# --------------------------------------------------------------------------------------------------- leftovers


def test_names_of_jobs_differ_by_results_folder_and_suit_the_plugin(tmp_path: Path) -> None:
    names = {leftovers.prefix(tmp_path / folder / "a.study_with-a.very-long-name.and-more") for folder in "ab"}
    assert len(names) == 2
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,50}", name)


def test_slurm_must_be_there_for_a_profile(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:/bin/nowhere"}
    study = write_study(tmp_path)
    done = run("run", study, "--profile", ROOT / "cluster" / "slurm", cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "rnnlimits: squeue: not found on PATH; --profile needs Slurm's commands: run it on a login node\n"
    )


@pytest.mark.parametrize("character", ["'", '"', "`", "$", "\\", "\n"])
@pytest.mark.parametrize("place", ["folder", "study", "results"])
def test_a_path_that_a_shell_would_read_is_refused(tmp_path: Path, place: str, character: str) -> None:
    """Snakemake puts paths into scripts in the quotes of Python's repr, which are not a shell's."""
    hostile = f"a{character}(touch pwned)"
    folder = tmp_path / (hostile if place == "folder" else "plain")
    folder.mkdir()
    study = write_study(folder)
    if place == "study":
        study = study.rename(folder / f"{hostile}.yaml")
    results = hostile if place == "results" else "results"
    words = ["run", study, "--profile", ROOT / "cluster" / "slurm", "--results", results]
    done = run(*words, cwd=folder, check=False)
    assert done.returncode == 2
    assert "which the job's shell would interpret; rename the folder" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("pwned"))


def test_what_became_of_jobs_is_told_in_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("7", "TIMEOUT", "0", "1:05", "ours_1", "rule_job_draw"),
        ("8", "COMPLETED", "0", "1:00", "ours_1", "rule_job_N00016"),
        ("9", "COMPLETED", "2", "1:00", "ours_1", "rule_job_N00033"),
        ("10", "FAILED", "0", "1:00", "others_1", "rule_job_N00033"),
        ("11", "BOOT_FAIL", "0", "0:00", "ours_1", "rule_analysis"),
    ]
    table = "\n".join(
        "".join(word.ljust(width) for word, width in zip(row, endings.FIELDS.values(), strict=True)) for row in rows
    )
    monkeypatch.setattr(endings, "ask", lambda *_: table)
    assert endings.told("ours", Path("logs")) == [
        "job 7 (job_draw) reached its time limit after 1:05; what it saved is kept; its output: logs",
        "job 9 (job_N00033) was preempted or lost its node, and was started again by Slurm",
        "job 11 (analysis) ended as BOOT_FAIL after 0:00; what it saved is kept; its output: logs",
    ]


@pytest.mark.workflow
def test_an_executor_without_a_site_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--configfile", str(write_study(tmp_path)), "--executor", "slurm", "--jobs", "2", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert done.returncode != 0
    assert "rnnlimits: config: site is missing; with --executor slurm add: --config site=cluster/slurm" in done.stderr


def test_one_gpu_a_node_on_several_nodes_is_one_rank_each() -> None:
    using = submission.profile(ROOT / "cluster" / "slurm-gpu")
    one = using.site.model_copy(update={"ranks_per_node": 1, "nodes": 4, "minutes": 10, "shortest": 1})
    job = max(jobs(WHOLE, one), key=lambda job: job.ranks)
    line = submission.sbatch_line(job, replace(using, site=one)).split()
    assert job.ranks == job.nodes > 1
    assert {f"--nodes={job.nodes}", f"--ntasks={job.ranks}", "--ntasks-per-gpu=1", "--gres=gpu:1"} <= set(line)
