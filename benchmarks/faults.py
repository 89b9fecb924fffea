"""Nothing lost, whatever dies: a study on a private Slurm, struck in every way, ends with the bits of a calm run.

    python benchmarks/faults.py                       # every kind of fault once, then chaos; about ten minutes
    python benchmarks/faults.py --only rank,srun      # some kinds
    python benchmarks/faults.py --chaos 0             # no chaos
    python benchmarks/faults.py --write faults.md     # the tables into a file as well

For each kind a study with long blocks is started with `rnnlimits run STUDY --profile P --results R`. At a random moment
of its training (fixed seed) the fault is done; then the run is left alone, or the same command is given again, until it
ends with exit code 0. Compared are the digests of draws, ensembles and twins with those of a run on this machine
without Slurm; counted are shards that were there before the fault and were written again, and what was computed twice:
blocks from their beginning, and the time of the ranks since their blocks' last saved states. In chaos a random process
of the study is killed, or a node, every few seconds until the study ends. Exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import h5py  # noqa: E402
from slurm import Loopback  # noqa: E402

from benchmarks.cluster import (  # noqa: E402
    Process,
    Snapshot,
    Trial,
    calm,
    cluster,
    digests,
    machine,
    table,
    telling_line,
)
from rnnlimits import study as studies  # noqa: E402
from rnnlimits.cluster import leftovers  # noqa: E402
from rnnlimits.training.layout import Layout  # noqa: E402

SEED = 20231108
LANES = 4  # studies at a time: most of their time is Slurm's and Snakemake's waiting
NODES, CPUS = 4, 2  # for each lane: a study has at most two jobs, of at most two nodes
MOST_COMMANDS = 20
END_SECONDS = 330.0  # that one command may take
GONE_SECONDS = 15.0  # after a rank's death: the others must be gone by then

# Blocks of several seconds each, so that going on from saved states matters; over two nodes.
LONG: dict[str, Any] = {
    "name": "long",
    "training": {
        "width": [16, 8192],
        "steps_per_time": [16384],
        "replicas": 16,
        "replicas_per_block": 2,
        "horizon": 10.0,
        "checkpoints": [0.0, 4.0, 10.0],
    },
    "twin": {"follow": True},
}
# A site that seems slow enough for four ranks.
SITE: dict[str, Any] = {
    "ranks_per_node": CPUS,
    "nodes": 2,
    "minutes": 1,
    "shortest": 0,
    "megabytes_per_rank": 400,
    "longest": 2,
    "warning": 20,
    "speed": {"float32": 5e7, "float64": 5e7},
}
# Python reads it at its start: no lock can be had, as on a network file system mounted without them.
WITHOUT_LOCKS = """
import ctypes, platform, struct  # noqa: E402
flock = {{"x86_64": 73, "aarch64": 32}}[platform.machine()]
load, same, fails, allowed = (0x20, 0, 0, 0), (0x15, 0, 1, flock), (6, 0, 0, 0x50000 | {number}), (6, 0, 0, 0x7FFF0000)
code = struct.pack("HBBIHBBIHBBIHBBI", *load, *same, *fails, *allowed)
kept = ctypes.create_string_buffer(code)
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, ctypes.byref(ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(kept))))):
    raise SystemExit("no seccomp")
"""


# --- faults ------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """How a run is disturbed; what it returns is what the user saw of it, if that is not in the run's own words."""

    strike: Callable[[Trial], str | None] = lambda trial: None
    site: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Trial], None] = lambda trial: None
    repair: Callable[[Trial], None] = lambda trial: None
    tidy: Callable[[Trial], None] = lambda trial: None
    start: Callable[[Trial], object] = Trial.start
    jobs_live: bool = False  # what submitted is killed: its jobs live until the command is given again
    harmless: bool = False  # nothing is killed


def kill(kind: str, number: int = signal.SIGKILL) -> Callable[[Trial], None]:
    """One process of a kind, the first of them, gets a signal."""

    def strike(trial: Trial) -> None:
        min(trial.processes(kind), key=lambda process: process.pid).kill(number)

    return strike


def kill_both(trial: Trial) -> None:
    for process in trial.processes("rnnlimits run", "Snakemake"):
        process.kill()


def node_of(trial: Trial) -> str:
    """A node on which the study computes."""
    nodes = next(nodes for _, nodes in trial.slurm_jobs() if nodes)
    return trial.loopback.run("scontrol", "show", "hostnames", nodes).stdout.split()[-1]


def kill_node(trial: Trial) -> None:
    name = node_of(trial)
    trial.loopback.kill_node(name)
    time.sleep(1)
    trial.loopback.start_node(name)


def cancel(trial: Trial) -> None:
    trial.loopback.run("scancel", *[number for number, _ in trial.slurm_jobs()])


def preempt(trial: Trial) -> None:
    options = ["--partition=urgent", f"--nodelist={node_of(trial)}", "--exclusive", "--account=ci"]
    urgent = trial.loopback.submit("sleep 3", *options)
    trial.loopback.wait_for(urgent, "COMPLETED", seconds=90)


def reach_time_limit(trial: Trial) -> None:
    """Slurm's limits are whole minutes: ranks are held up most of the time until the job is ended."""
    ranks = trial.processes("rank")
    while any(rank.alive for rank in ranks):
        for number, seconds in ((signal.SIGSTOP, 0.5), (signal.SIGCONT, 0.01)):
            for rank in ranks:
                rank.kill(number)
            time.sleep(seconds)
    prefix = leftovers.prefix(trial.layout.root)
    listed = trial.loopback.run("squeue", "--noheader", "--states=TIMEOUT", "--format=%j").stdout
    if prefix not in listed:
        raise RuntimeError("no job of the study reached its time limit")


def second_run(trial: Trial) -> str:
    mine, commands = trial.process, trial.commands
    second = trial.start()
    code = second.wait(60)
    trial.process, trial.commands = mine, commands + 1
    assert code == 2, f"the second run ended with {code}"
    return "(second run) " + next(line for line in trial.said().splitlines() if "is being run by" in line)


def mount(trial: Trial) -> None:
    trial.results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(trial.results)], check=True)


def unmount(trial: Trial) -> None:
    subprocess.run(["umount", "--lazy", str(trial.results)], check=False)


def fill(trial: Trial) -> None:
    with (trial.results / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def free(trial: Trial) -> None:
    (trial.results / "filler").unlink(missing_ok=True)


def without_locks(number: int) -> Callable[[Trial], None]:
    def prepare(trial: Trial) -> None:
        folder = trial.folder / "locks"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(WITHOUT_LOCKS.format(number=number))
        trial.env["PYTHONPATH"] = f"{folder}:{trial.env['PYTHONPATH']}"

    return prepare


def snakemake(trial: Trial) -> object:
    """Snakemake's own command."""
    return trial.run(_snakemake(trial))


def _snakemake(trial: Trial) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--profile", "profile", "--configfile", trial.path.name]
    return [*command, "--config", "site=profile", f"results={trial.results}"]


def unlock(trial: Trial) -> None:
    if "cannot be locked" in trial.said():
        subprocess.run(
            [*_snakemake(trial), "--unlock"], cwd=trial.folder, env=trial.env, check=True, capture_output=True
        )


FAULTS: dict[str, Fault] = {
    "SIGKILL slurmstepd of the ranks": Fault(kill("slurmstepd")),
    "time limit": Fault(reach_time_limit, site={"longest": 1}),
    "full disk that is freed later": Fault(fill, prepare=mount, repair=free, tidy=unmount),
    "SIGKILL rank": Fault(kill("rank")),
    "SIGKILL srun": Fault(kill("srun")),
    "SIGKILL mpiexec": Fault(kill("mpiexec"), site={"launch": "mpiexec"}),
    "SIGKILL slurmstepd of the job": Fault(kill("batch slurmstepd")),
    "SIGKILL job's Snakemake": Fault(kill("job's Snakemake")),
    "SIGKILL Snakemake": Fault(kill("Snakemake"), jobs_live=True),
    "SIGKILL rnnlimits run": Fault(kill("rnnlimits run"), jobs_live=True),
    "SIGKILL rnnlimits run and Snakemake": Fault(kill_both, jobs_live=True),
    "SIGTERM rnnlimits run": Fault(kill("rnnlimits run", signal.SIGTERM)),
    "SIGINT rnnlimits run": Fault(kill("rnnlimits run", signal.SIGINT)),
    "scancel": Fault(cancel),
    "preemption": Fault(preempt),
    "node killed": Fault(kill_node),
    "second run at the same time": Fault(second_run, harmless=True),
    "file system without locks (ENOLCK)": Fault(prepare=without_locks(37), harmless=True),
    "file system without locks (ENOSYS)": Fault(prepare=without_locks(38), harmless=True),
    "SIGKILL snakemake --profile": Fault(kill("Snakemake"), start=snakemake, repair=unlock, jobs_live=True),
}


# --- one fault ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A run that was disturbed."""

    when: str
    commands: int
    saw: str
    gone: float | None  # seconds until no rank was left
    redone: str
    rewritten: int
    doubled: int
    equal: bool
    seconds: float

    @property
    def good(self) -> bool:
        return self.equal and self.rewritten == 0 and self.doubled == 0


def wait_until(what: Callable[[], object], seconds: float, why: str) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"{why}: not within {seconds:.0f} s")
        time.sleep(0.05)


def at_work(trial: Trial) -> bool:
    """Ranks train the long pack."""
    if trial.process is not None and trial.process.poll() is not None:
        raise RuntimeError(f"the run ended too soon:\n{trial.said()[-2000:]}")
    wide = f"N{max(trial.study.training.width):05d}-"
    now = trial.look()
    began = any(path.parent.name.startswith(wide) for path in [*now.states, *now.shards])
    return began and bool(trial.processes("rank"))


def until_gone(ranks: Sequence[Process], limit: float = 2 * GONE_SECONDS) -> float | None:
    """Seconds until all of them are dead; None if they stay."""
    started = time.monotonic()
    while any(rank.alive for rank in ranks):
        if time.monotonic() - started > limit:
            return None
        time.sleep(0.05)
    return time.monotonic() - started


def finish(trial: Trial, repair: Callable[[Trial], object], start: Callable[[Trial], object]) -> None:
    """Give the same command again until it ends well."""
    assert trial.process is not None
    while (code := trial.process.wait(END_SECONDS)) != 0:
        if trial.commands >= MOST_COMMANDS:
            raise RuntimeError(f"exit code {code} of command {trial.commands}:\n{trial.said()[-3000:]}")
        if "is being run by" in trial.said().splitlines()[-1]:
            wait_until(lambda: not trial.processes("Snakemake"), END_SECONDS, "Snakemake ends")
        repair(trial)
        start(trial)


def redone(layout: Layout, before: Snapshot, after: Snapshot, ranks: int, useful: float) -> str:
    """What has to be computed again: blocks from their beginning, and the ranks' time since the last saved states."""
    left = [path for path in after.states if layout.shards / path.parent.name / path.name not in after.shards]
    lost = [max(0.0, before.at - after.states[path]) for path in left]
    finished = sorted((inode_time[1] / 1e9 for inode_time in before.shards.values()), reverse=True)
    anew = max(0, min(ranks, len(left) + ranks) - len(left) - len(set(after.shards) - set(before.shards)))
    lost += [max(0.0, before.at - began) for began in finished[:anew]]
    return f"{anew} from the start, {len(left)} from a state: {sum(lost):.1f} s ({sum(lost) / useful:.1%})"


def useful_seconds(layout: Layout) -> float:
    """Seconds of ranks that are in the finished trainings."""
    total = 0.0
    for path in layout.shards.glob("N*/*.h5"):
        with h5py.File(path, "r") as file:
            total += float(file["run_seconds"][()].sum())
    return total


def suffer(loopback: Loopback, folder: Path, name: str, content: dict[str, Any], wanted: dict[str, str]) -> Outcome:
    """Run the study with one fault."""
    fault, rng, started = FAULTS[name], random.Random(f"{SEED} {name}"), time.monotonic()
    trial = Trial.of(loopback, folder, content, {**SITE, **fault.site})
    fault.prepare(trial)
    try:
        trial.watch()
        fault.start(trial)
        wait_until(lambda: at_work(trial), 600, "ranks at work")
        time.sleep(rng.uniform(0.2, 3.0))
        wait_until(lambda: at_work(trial), 5, "ranks still at work")
        ranks, before, mark = trial.processes("rank"), trial.look(), len(trial.said())
        saw = fault.strike(trial)
        if fault.jobs_live and trial.process is not None:
            trial.process.wait(60)
            fault.start(trial)
        gone = None if fault.harmless else until_gone(ranks, 4 * GONE_SECONDS)
        after = trial.look()
        finish(trial, fault.repair, fault.start)
        last, found = trial.look(), digests(trial.study, trial.layout)
        useful = useful_seconds(trial.layout)
        return Outcome(
            when=f"{len(before.shards)} of {len(last.shards)} shards, {len(before.states)} states",
            commands=trial.commands,
            saw=(saw or telling_line(trial.said()[mark:])).replace(f"{folder}/", ""),
            gone=gone,
            redone="nothing" if fault.harmless else redone(trial.layout, before, after, len(ranks), useful),
            rewritten=sum(last.shards.get(path) != was for path, was in before.shards.items()),
            doubled=sum(times > 1 for times in trial.renames.count.values()) if trial.renames else 0,
            equal=found == wanted,
            seconds=time.monotonic() - started,
        )
    finally:
        trial.clean_up()
        fault.tidy(trial)


# --- chaos -------------------------------------------------------------------------------------------------

WEIGHTS = {
    "rank": 4,
    "srun": 3,
    "slurmstepd": 3,
    "batch slurmstepd": 2,
    "job's Snakemake": 2,
    "Snakemake": 1,
    "rnnlimits run": 1,
    "node": 2,
}


@dataclass
class Chaos:
    """What the runs that were struck again and again have in common."""

    wanted: dict[str, str]
    kills: int  # at least so many in all
    struck: Counter[str] = field(default_factory=Counter)
    gone: list[float] = field(default_factory=list)
    stayed: int = 0  # times that ranks outlived another by too much
    runs: list[str] = field(default_factory=list)
    bad: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enough(self) -> bool:
        return sum(self.struck.values()) >= self.kills


def one_kill(trial: Trial, rng: random.Random, chaos: Chaos) -> bool:
    """Kill something, by SIGKILL, if it is there; where it was a rank, see how long the others live."""
    there: dict[str, list[Process]] = {}
    for process in trial.processes():
        there.setdefault(process.kind, []).append(process)
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if kind in there:
        rng.choice(sorted(there[kind], key=lambda process: process.pid)).kill()
    elif kind == "node" and any(nodes for _, nodes in trial.slurm_jobs()):
        kill_node(trial)
    else:
        return False
    with chaos.lock:
        chaos.struck[kind] += 1
    if kind == "rank":
        gone = until_gone(there["rank"])
        with chaos.lock:
            chaos.stayed += gone is None or gone > GONE_SECONDS
            chaos.gone += [] if gone is None else [gone]
    return True


def stormy(trial: Trial, rng: random.Random, chaos: Chaos, pause: tuple[float, float], most: int) -> int:
    """Run the study while it is struck, at most so many times; returns how often the command was given."""
    trial.watch()
    trial.start()
    struck = 0
    next_kill = time.monotonic() + rng.uniform(*pause)
    while True:
        assert trial.process is not None
        code = trial.process.poll()
        if code == 0:
            return trial.commands
        if code is not None:
            if "is being run by" in trial.said().splitlines()[-1]:
                time.sleep(1)
            if trial.commands > 10 * MOST_COMMANDS:
                raise RuntimeError(f"exit code {code}:\n{trial.said()[-3000:]}")
            trial.start()
        if time.monotonic() > next_kill and struck < most:
            done = one_kill(trial, rng, chaos)
            struck += done
            next_kill = time.monotonic() + (rng.uniform(*pause) if done else 0.5)
        time.sleep(0.1)


def storm(loopback: Loopback, folder: Path, content: dict[str, Any], chaos: Chaos, number: int) -> None:
    """One study after the other, until there were enough kills in all."""
    rng, run = random.Random(f"{SEED} storm {number}"), 0
    while not chaos.enough():
        started, run = time.monotonic(), run + 1
        trial = Trial.of(loopback, folder / f"s{number}-{run}", content, SITE)
        try:
            commands = stormy(trial, rng, chaos, (2.0, 9.0), most=12)
            equal = digests(trial.study, trial.layout) == chaos.wanted
            doubled = sum(times > 1 for times in trial.renames.count.values()) if trial.renames else 0
        finally:
            trial.clean_up()
        with chaos.lock:
            chaos.bad += not equal or doubled > 0
            chaos.runs.append(
                f"run {number}.{run}: {time.monotonic() - started:.0f} s, command given {commands} times, digests "
                f"{'equal' if equal else 'DIFFERENT'}, {doubled} shards written twice"
            )


# --- all of it ---------------------------------------------------------------------------------------------


def all_faults(
    loopback: Loopback, folder: Path, names: Sequence[str], content: dict[str, Any], wanted: dict[str, str], lanes: int
) -> dict[str, Outcome | Exception]:
    """Every fault, several at a time."""

    def one(number: int) -> Outcome | Exception:
        try:
            found: Outcome | Exception = suffer(loopback, folder / f"f{number}", names[number], content, wanted)
        except (AssertionError, OSError, RuntimeError, TimeoutError, ValueError, subprocess.SubprocessError) as error:
            found = error
        good = isinstance(found, Outcome) and found.good
        print(f"{names[number]}: {'good' if good else found}", file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(lanes) as pool:
        return dict(zip(names, pool.map(one, range(len(names))), strict=True))


def report(found: Mapping[str, Outcome | Exception]) -> str:
    header = [
        "fault",
        "when",
        "commands",
        "what the user saw",
        "ranks gone after",
        "blocks under way went on; redone",
        "finished shards rewritten",
        "shards written twice",
        "digests equal",
    ]
    rows = []
    for name, outcome in found.items():
        if isinstance(outcome, Exception):
            rows.append([name, "", "", f"FAILED: {str(outcome).splitlines()[0]}", "", "", "", "", "NO"])
            continue
        gone = "they stay" if outcome.gone is None else f"{outcome.gone:.1f} s"
        rows.append(
            [
                name,
                outcome.when,
                str(outcome.commands),
                outcome.saw,
                gone,
                outcome.redone,
                str(outcome.rewritten),
                str(outcome.doubled),
                "yes" if outcome.equal else "NO",
            ]
        )
    return table(header, rows)


def chaos_report(chaos: Chaos) -> str:
    rows = [[kind, times] for kind, times in chaos.struck.most_common()]
    most, mean = max(chaos.gone, default=0.0), sum(chaos.gone) / max(1, len(chaos.gone))
    lines = [f"- {line}" for line in sorted(chaos.runs)]
    return "\n".join(
        [
            table(["SIGKILL of", "times"], [*rows, ["all", sum(chaos.struck.values())]]),
            "",
            *lines,
            f"- after a rank was killed the others of its study were gone after {mean:.1f} s, {most:.1f} s at most; "
            f"{chaos.stayed} times later than {GONE_SECONDS:.0f} s",
        ]
    )


def options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FAULTS), help="kinds of faults, separated by commas")
    parser.add_argument("--chaos", type=int, default=50, metavar="KILLS", help="kills at random (default: 50)")
    parser.add_argument("--lanes", type=int, default=LANES, help=f"studies at a time (default: {LANES})")
    parser.add_argument("--short", action="store_true", help="a study of seconds: to try this program")
    parser.add_argument("--keep", action="store_true", help="leave the folder with everything in it, and name it")
    parser.add_argument("--write", type=Path, help="write the tables to this file as well")
    asked = parser.parse_args(words)
    if unknown := {name for name in asked.only.split(",") if name} - FAULTS.keys():
        parser.error(f"--only: {', '.join(sorted(unknown))} not among: {', '.join(FAULTS)}")
    return asked


def main(words: Sequence[str] | None = None) -> int:
    asked, content, started = options(words), dict(LONG), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is taken down then as well
    if asked.short:
        content["training"] = {**LONG["training"], "horizon": 8.0, "checkpoints": [0.0, 8.0]}
    names = [name for name in asked.only.split(",") if name]
    folder = Path(tempfile.mkdtemp(prefix="rf"))
    try:
        where, seconds = calm(folder / "calm", content)
        wanted = digests(studies.load(folder / "calm" / "long.yaml"), where)
        chaos = Chaos(wanted, asked.chaos)
        with cluster(folder / "c", nodes=NODES * asked.lanes, cpus=CPUS, gpu_nodes=0) as loopback:
            found = all_faults(loopback, folder, names, content, wanted, asked.lanes)
            print(report(found), flush=True)  # chaos takes as long again
            with ThreadPoolExecutor(asked.lanes) as pool:
                list(pool.map(lambda lane: storm(loopback, folder, content, chaos, lane), range(asked.lanes)))
    finally:
        if asked.keep:
            print(f"left: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    text = f"{machine()}\ncalm run, two ranks: {seconds:.0f} s; all of this: {time.monotonic() - started:.0f} s\n\n"
    text += report(found) + "\n"
    text += f"\n{chaos_report(chaos)}\n" if asked.chaos else ""
    print(text)
    if asked.write is not None:
        asked.write.write_text(text)
    bad = [name for name, outcome in found.items() if isinstance(outcome, Exception) or not outcome.good]
    return 1 if bad or chaos.bad or chaos.stayed else 0


if __name__ == "__main__":
    sys.exit(main())
