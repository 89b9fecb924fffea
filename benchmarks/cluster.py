"""What faults.py and stress.py share: studies on a private Slurm (cluster/loopback), seen and struck from outside.

Processes are found through /proc by the folder in which they work, so that several studies run beside one another and
each is only ever struck by its own faults.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import slurm  # noqa: E402
import yaml  # noqa: E402
from runs import MPIEXEC, PROGRAM, write_study  # noqa: E402
from slurm import PLAIN, Loopback  # noqa: E402

from rnnlimits import experiments  # noqa: E402
from rnnlimits import study as studies  # noqa: E402
from rnnlimits.cluster import leftovers, submission  # noqa: E402
from rnnlimits.cluster.jobs import jobs  # noqa: E402
from rnnlimits.files.reading import digest_of  # noqa: E402
from rnnlimits.training import plan  # noqa: E402
from rnnlimits.training.layout import Layout  # noqa: E402

# `rnnlimits run` but for the table at the end: the analysis job, which only looks at what the others made, is left out.
COMMAND = "import sys; from rnnlimits import cli; from rnnlimits.results import summary; summary.summary = str"
COMMAND += "; sys.exit(cli.main(sys.argv[1:]))"
LOOK_SECONDS = 0.02


# --- processes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process, whatever its number is used for later."""

    pid: int
    began: str
    kind: str

    @property
    def alive(self) -> bool:
        """A zombie is dead."""
        fields = _status(self.pid)
        return fields is not None and fields[0] not in "ZX" and fields[19] == self.began

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _status(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return None


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def working_in(folder: Path) -> list[int]:
    """Processes whose working folder this is."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError):
                if os.readlink(f"/proc/{entry}/cwd") == str(folder):
                    found.append(int(entry))
    return found


def kind_of(words: Sequence[str]) -> str:
    """What a process of a study is, by its command line; "" for shells and helpers."""
    program = Path(words[0]).name if words else ""
    if program in ("srun", "mpiexec", "mpiexec.hydra"):
        return program.removesuffix(".hydra")
    if not program.startswith("python"):
        return ""
    if any(
        words[at : at + 2] == ["rnnlimits", "work"] or word.endswith("rnnlimits/__main__.py")
        for at, word in enumerate(words[:4])
    ):
        return "rank"
    if ["-m", "snakemake"] in (words[1:3], words[2:4]):
        return "job's Snakemake" if "--target-jobs" in words else "Snakemake"
    return "rnnlimits run" if words[1:2] == ["-c"] and words[2:3] == [COMMAND] else ""


def processes(folder: Path) -> list[Process]:
    """The processes of the study that runs in `folder`, and the step managers above them."""
    found: dict[int, Process] = {}
    for pid in working_in(folder):
        status = _status(pid)
        if status is None or status[0] in "ZX":
            continue
        kind, above = kind_of(_words(pid)), int(status[1])
        manager = _status(above)
        if manager and "".join(_words(above)).startswith("slurmstepd"):
            found[above] = Process(above, manager[19], "slurmstepd" if kind == "rank" else "batch slurmstepd")
        if kind:
            found[pid] = Process(pid, status[19], kind)
    return list(found.values())


# --- files -------------------------------------------------------------------------------------------------


class Renames:
    """Counts what appears by rename in some folders, through inotify: one entry for each time a name was written.

    The kernel merges two events that follow one another and are alike. So it is asked for new files too: a shard
    begins as one, in the same folder, and what is renamed twice has an event between.
    """

    CREATE, MOVED_TO = 0x100, 0x80

    def __init__(self, folders: Sequence[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_CLOEXEC)
        self._folders: dict[int, Path] = {}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            watch = libc.inotify_add_watch(self._descriptor, os.fsencode(folder), self.CREATE | self.MOVED_TO)
            if watch < 0:
                raise OSError(ctypes.get_errno(), f"inotify: {folder}")
            self._folders[watch] = folder
        self.count: Counter[Path] = Counter()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self._descriptor, 1 << 16):
            while data:
                watch, mask, _, length = struct.unpack_from("iIII", data)
                if watch >= 0 and mask & self.MOVED_TO:
                    name = data[16 : 16 + length].rstrip(b"\0").decode()
                    self.count[self._folders[watch] / name] += 1
                elif watch < 0:
                    self.count[Path("events lost")] += 2
                data = data[16 + length :]


@dataclass
class Snapshot:
    """What was on the disk at a moment."""

    at: float  # time.time()
    shards: dict[Path, tuple[int, int]]  # inode, time of change
    states: dict[Path, float]  # time of change, s


# --- the cluster -------------------------------------------------------------------------------------------


@contextmanager
def cluster(folder: Path, **settings: int) -> Iterator[Loopback]:
    """A private Slurm whose jobs have numbers that no other had: MPICH names a job's shared memory by its number."""
    with slurm.cluster(folder, **settings) as loopback:
        with (folder / "etc" / "slurm.conf").open("a") as file:
            file.write(f"FirstJobId={1_000_000 + int(time.time()) * 7 % 60_000_000}\n")
        loopback.run("scontrol", "reconfigure")
        time.sleep(1)
        yield loopback


# --- a study on the cluster --------------------------------------------------------------------------------


@dataclass
class Trial:
    """A study in a folder of its own, with a profile, and the command that runs it."""

    loopback: Loopback
    folder: Path
    path: Path
    profile: Path
    env: dict[str, str]
    results: Path
    process: subprocess.Popen[str] | None = None
    commands: int = 0
    renames: Renames | None = field(default=None, repr=False)

    @classmethod
    def of(cls, loopback: Loopback, folder: Path, content: Mapping[str, Any], site: Mapping[str, Any]) -> Self:
        folder.mkdir()
        profile = folder / "profile"
        profile.mkdir()
        (profile / "config.yaml").write_text((ROOT / "cluster/slurm-loopback/config.yaml").read_text())
        (profile / "site.yaml").write_text(yaml.safe_dump(dict(site)))
        env = {**loopback.env, "RNNLIMITS_CHECKPOINT_SECONDS": "1"}
        return cls(loopback, folder, write_study(folder, **content), profile, env, folder / "results")

    @property
    def study(self) -> studies.Study:
        return studies.load(self.path)

    @property
    def layout(self) -> Layout:
        return Layout.of(self.study, self.results)

    def rules(self) -> list[str]:
        site = submission.profile(self.profile).site
        return [submission.rule_name(job) for job in jobs(experiments.of(self.study, self.results), site)]

    def watch(self) -> None:
        """Count every shard that is written from now on."""
        self.renames = Renames(sorted({path.parent for path in planned(self.study, self.layout)}))

    def start(self) -> subprocess.Popen[str]:
        """Give the command (again)."""
        command = [sys.executable, "-c", COMMAND, "run", self.path.name, "--profile", "profile"]
        return self.run([*command, "--results", str(self.results), "--", "--until", *self.rules()])

    def run(self, command: Sequence[str]) -> subprocess.Popen[str]:
        with (self.folder / "said").open("a") as said:
            said.write(f"$ {shlex.join(command)[-120:]}\n")
            said.flush()
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True
            )
        self.commands += 1
        return self.process

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def processes(self, *kinds: str) -> list[Process]:
        return [process for process in processes(self.folder) if not kinds or process.kind in kinds]

    def slurm_jobs(self) -> list[tuple[str, str]]:
        """Number and nodes of this study's jobs that are queued or under way."""
        prefix = leftovers.prefix(self.layout.root)
        lines = self.loopback.run("squeue", "--noheader", "--format=%A %j %N").stdout.splitlines()
        found = [line.split() for line in lines if line.split()[1].startswith(prefix)]
        return [(fields[0], fields[2] if len(fields) > 2 else "") for fields in found]

    def look(self) -> Snapshot:
        """The shards and saved states that are there."""
        return Snapshot(time.time(), shards(self.layout), states(self.layout))

    def clean_up(self) -> None:
        """End whatever still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        for process in self.processes("Snakemake", "rnnlimits run"):
            process.kill()
        if left := [number for number, _ in self.slurm_jobs()]:
            self.loopback.run("scancel", *left, check=False)


def shards(layout: Layout) -> dict[Path, tuple[int, int]]:
    """Finished shards: inode and time of change."""
    found = {}
    for path in layout.shards.glob("*/*.h5"):
        if not path.name.startswith("."):
            status = path.stat()
            found[path] = (status.st_ino, status.st_mtime_ns)
    return found


def states(layout: Layout) -> dict[Path, float]:
    """Saved states: time of change."""
    found = {}
    for path in layout.states.glob("*/*.h5"):
        with suppress(OSError):
            if not path.name.startswith("."):
                found[path] = path.stat().st_mtime
    return found


def planned(study: studies.Study, layout: Layout) -> list[Path]:
    """Every shard that a study has to have."""
    draw = plan.draw_id(study)
    paths = [layout.draw_shard(index, draw) for index in range(plan.draw_blocks(study))]
    for twin in plan.twins(study):
        paths += [layout.twin_shard(block, plan.twin_id(study, twin)) for block in plan.twin_blocks(study, twin)]
    for cell in plan.cells(study):
        paths += [layout.shard(block, plan.cell_id(study, cell)) for block in plan.blocks(study, cell)]
    return paths


def total_steps(study: studies.Study) -> int:
    """Unit-steps of all trainings."""
    return sum(plan.unit_steps(cell, study) for cell in plan.cells(study))


def digests(study: studies.Study, layout: Layout) -> dict[str, str]:
    """Digests of draws, ensembles and twins; "missing" for what is not there."""
    paths = [layout.draw, *(layout.ensemble(cell) for cell in plan.cells(study))]
    paths += [layout.twin(twin) for twin in plan.twins(study)]
    return {str(path.relative_to(layout.root)): digest_of(path) if path.exists() else "missing" for path in paths}


def calm(folder: Path, content: Mapping[str, Any], ranks: int = 2) -> tuple[Layout, float]:
    """Run a study that nothing disturbs, on this machine without Slurm; where it is, and seconds that it took."""
    folder.mkdir()
    path, started = write_study(folder, **content), time.monotonic()
    study = studies.load(path)
    parts = ["draw", *(f"twin-K{twin.steps_per_time:05d}" for twin in plan.twins(study)), *plan.packs(study)]
    command = [MPIEXEC, "-n", str(ranks), *PROGRAM, "work", path.name, *parts, "--results", "results"]
    subprocess.run(command, cwd=folder, env=PLAIN, check=True, capture_output=True)
    return Layout.of(study, folder / "results"), time.monotonic() - started


# --- words -------------------------------------------------------------------------------------------------

# What a user would notice first, in this order.
TELLING = (
    r"rnnlimits: .*(stopped by|interrupted|is being run by|cancelled|was killed|ended by)",
    r"SLURM-job '\d+' failed, SLURM status is: .*",
    r"cannot be written.*",
    r"LockException|Directory cannot be locked.*",
    r"rnnlimits: .*",
    r"Trying to restart job.*",
)


def telling_line(text: str) -> str:
    """The line of some output that says what happened."""
    lines = [line.strip() for line in text.splitlines() if not line.startswith("$ ")]
    for pattern in TELLING:
        if found := next((line for line in lines if re.search(pattern, line)), None):
            return found
    return "nothing"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def machine() -> str:
    """The processor, its cores, and Slurm's version."""
    model = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    )
    daemon = shutil.which("slurmd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "slurmd"
    slurm = subprocess.run([daemon, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{model}, {len(os.sched_getaffinity(0))} cores; {slurm}"
