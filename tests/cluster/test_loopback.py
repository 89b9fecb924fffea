"""cluster/loopback: a real Slurm on this machine, seen by nobody else, that comes and goes without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import HANG
from slurm import PLAIN, PYTHON, SCRIPT, Loopback, cluster, command, listening, processes

pytestmark = pytest.mark.needs_slurm

BEGIN = "from rnnlimits.ranks import parallel\nparallel.require_mpi()\nfrom mpi4py import MPI\n"
# Each rank says who it is, then waits until the file named first is there.
RANKS = f"""
import json, os, sys, time
{BEGIN}
world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
print(json.dumps([world.rank, world.size, total, os.environ["SLURMD_NODENAME"]]), flush=True)
end = time.monotonic() + 1800
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.05)
"""
# Every address that a rank tells the others is filled up with what freed memory held before.
FULL_OF_NOISE = """
import ctypes, os
memory = ctypes.CDLL(None)
memory.malloc.restype, memory.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
held = [memory.malloc(4096 + 16 * (number % 8)) for number in range(4000)]
for pointer in held:
    ctypes.memmove(pointer, os.urandom(4096), 4096)
for pointer in held[::2]:
    memory.free(pointer)
"""
SRUN_RANKS = ["srun", "--mpi=pmi2", "--nodes=2", "--ntasks=4", "--ntasks-per-node=2", PYTHON, "-c", RANKS]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name, unlike tmp_path: sockets in it must be possible."""
    with tempfile.TemporaryDirectory(prefix="rnnlimits-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A cluster of two nodes, for what must not be done to the shared one."""
    with cluster(tmp_path_factory.mktemp("small"), nodes=2) as found:
        yield found


@pytest.fixture(scope="module")
def lost(small: Loopback) -> tuple[str, set[int]]:
    """A job whose node was killed, its processes. Slurm needs half a minute to notice; other tests run meanwhile."""
    # In the background of the job, and nobody's descendant: it dies with the node all the same.
    script = "setsid sleep 7200 & disown; setsid setsid sleep 7200 & srun sleep 7200"
    job = small.submit(script, "--no-requeue", "--nodelist=lb2")
    end = time.monotonic() + HANG
    while len(asleep := {pid for pid, name in processes(small.folder).items() if name == "sleep"}) < 3:
        assert time.monotonic() < end
        time.sleep(0.1)
    small.kill_node("lb2")
    return job, asleep


def vanished(folder: Path, seconds: float = HANG) -> bool:
    end = time.monotonic() + seconds
    while processes(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return not processes(folder)


def daemons(folder: Path) -> dict[str, str]:
    rows = [line.split() for line in command(folder, "status", check=False).stdout.splitlines()]
    return {row[0]: row[-1] for row in rows if row[1:2] == ["up"]}


def gone(pid: int) -> bool:
    """No such process, or a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_ran_on_a_killed_node_is_gone(small: Loopback, lost: tuple[str, set[int]]) -> None:
    assert all(gone(pid) for pid in lost[1])
    command(small.folder, "node-kill", "lb2")
    assert "slurmd-lb2" not in daemons(small.folder)
    assert "slurmd-lb1" in daemons(small.folder)


def test_mpi_ranks_on_two_nodes(loopback: Loopback) -> None:
    rows = [json.loads(line) for line in loopback.run(*SRUN_RANKS, "/").stdout.splitlines()]
    nodes = [node for *_, node in sorted(rows)]
    assert [row[:3] for row in sorted(rows)] == [[rank, 4, 10] for rank in range(4)]
    assert nodes[0] == nodes[1] != nodes[2] == nodes[3]


def test_ranks_find_each_other_whatever_their_memory_holds(loopback: Loopback) -> None:
    """Without a word from us srun's pmi2 ends the ranks, or they wait for ever: see launchers.netmod_for_srun."""
    words = [*SRUN_RANKS[:-1], FULL_OF_NOISE + RANKS, "/"]
    assert sorted(json.loads(line)[:3] for line in loopback.run(*words).stdout.splitlines()) == [
        [rank, 4, 10] for rank in range(4)
    ]


def test_listens_on_loopback_only(loopback: Loopback, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*SRUN_RANKS, tmp_path / "stop"], env=loopback.env, stdout=subprocess.PIPE, text=True
    ) as srun:
        assert srun.stdout is not None
        for _ in range(4):
            srun.stdout.readline()
        held = listening(set(processes(loopback.folder)))
        (tmp_path / "stop").touch()
    assert srun.returncode == 0
    assert {"slurmctld", "slurmd", "slurmdbd", "mariadbd", "srun"} <= set(held.values())
    assert len([who for who in held.values() if who.startswith("python")]) == 4
    assert [f"{who} {address}" for address, who in held.items() if not address.startswith("0100007F:")] == []


def test_batch_job_and_accounting(loopback: Loopback) -> None:
    job = loopback.submit("exit 3", "--account=ci")
    assert loopback.wait_for(job, "FAILED", "COMPLETED") == "FAILED"
    end = time.monotonic() + HANG
    query = ["sacct", "-XnPj", job, "--format=state,exitcode,account"]
    while (found := loopback.run(*query).stdout.strip()) != "FAILED|3:0|ci":
        assert time.monotonic() < end, found
        time.sleep(0.2)


def test_commands_find_the_cluster_without_slurm_conf(loopback: Loopback) -> None:
    stripped = {name: value for name, value in loopback.env.items() if not name.startswith("SLURM")}
    assert loopback.run("sinfo", "-ho", "%R", env=stripped).stdout.split() == ["cpu", "gpu", "urgent"]


def test_gpus_are_counted(loopback: Loopback) -> None:
    shown = loopback.run("srun", "--partition=gpu", "--gres=gpu:2", "printenv", "CUDA_VISIBLE_DEVICES", check=False)
    if os.geteuid() == 0:  # else they cannot be device files, and Slurm numbers only those
        assert shown.stdout == "0,1\n"
    refused = loopback.run("srun", "--partition=gpu", "--gres=gpu:3", "true", check=False)
    assert refused.returncode != 0
    assert "not available" in refused.stderr


def test_one_killed_rank_ends_the_others(loopback: Loopback) -> None:
    body = f"{BEGIN}import os, time\nMPI.COMM_WORLD.rank or os.kill(os.getpid(), 9)\ntime.sleep(7200)"
    words = ["srun", "--mpi=pmi2", "--kill-on-bad-exit=1", "--nodes=2", "--ntasks=2", PYTHON, "-c", body]
    assert loopback.run(*words, check=False).returncode != 0


@pytest.mark.parametrize("options", [[], ["--full"]], ids=["steps", "full"])
def test_a_signal_reaches_the_ranks(loopback: Loopback, tmp_path: Path, options: list[str]) -> None:
    program = tmp_path / "wait.py"
    program.write_text(
        f"{BEGIN}import pathlib, signal\nrank = MPI.COMM_WORLD.rank\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\nMPI.COMM_WORLD.Barrier()\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n(folder / f'ready{{rank}}').touch()\n"
        "if signal.sigtimedwait({signal.SIGUSR1}, 1800):\n    (folder / f'got{rank}').touch()\n"
    )
    job = loopback.submit(f"trap : USR1\nsrun --mpi=pmi2 {PYTHON} {program}", "--nodes=2", "--ntasks=2")
    end = time.monotonic() + HANG
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    loopback.run("scancel", "--signal=USR1", *options, job)
    assert loopback.wait_for(job, "COMPLETED", "FAILED", seconds=HANG) == "COMPLETED"
    assert len(list(tmp_path.glob("got*"))) == 2


@pytest.mark.parametrize("verb", ["node-kill", "node-start"])
@pytest.mark.parametrize("name", ["lb5", "lb", "", "lb1 lb2", "../lb1", "-n"])
def test_unknown_node_is_refused(loopback: Loopback, verb: str, name: str) -> None:
    done = command(loopback.folder, verb, name, check=False)
    assert done.returncode == 2
    assert done.stderr == f"loopback: node '{name}' is not one of lb1 lb2 lb3 lb4\n"


def test_up_again_changes_nothing(loopback: Loopback) -> None:
    before = daemons(loopback.folder)
    assert len(before) == 8
    starts = [subprocess.Popen([SCRIPT, "up"], env=_at(loopback.folder), stderr=subprocess.PIPE) for _ in range(2)]
    assert [start.wait(60) for start in starts] == [0, 0]
    for start in starts:
        start.communicate()
    assert daemons(loopback.folder) == before
    other = command(loopback.folder, "up", check=False, nodes=8)
    assert other.returncode == 2
    assert "the running cluster has 4" in other.stderr


def _at(folder: Path, **settings: str) -> dict[str, str]:
    return {**PLAIN, "RNNLIMITS_LOOPBACK_DIR": str(folder), **settings}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nodes": "many"}, "RNNLIMITS_LOOPBACK_NODES: 'many' is not a whole number from 1 to 64"),
        ({"nodes": "0"}, "RNNLIMITS_LOOPBACK_NODES: '0' is not a whole number from 1 to 64"),
        ({"cpus": "2.5"}, "RNNLIMITS_LOOPBACK_CPUS: '2.5' is not a whole number from 1 to 256"),
        ({"mem": "a[$(id)]"}, "RNNLIMITS_LOOPBACK_MEM: 'a[$(id)]' is not a whole number from 512 to 1048576"),
        ({"gpu_nodes": "5"}, "RNNLIMITS_LOOPBACK_GPU_NODES: '5' is not a whole number from 0 to 4"),
        ({"port": "80"}, "RNNLIMITS_LOOPBACK_PORT: '80' is not a whole number from 1024 to 65000"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_settings_are_refused(folder: Path, settings: dict[str, str], told: str) -> None:
    done = command(folder / "new", "up", check=False, **settings)
    assert (done.returncode, done.stderr) == (2, f"loopback: {told}\n")


def test_a_port_in_use_is_refused(loopback: Loopback, folder: Path) -> None:
    port = int(loopback.run("scontrol", "show", "config").stdout.split("SlurmctldPort")[1].split()[1])
    done = command(folder / "new", "up", check=False, port=port - 6)
    assert done.returncode == 2
    assert f"one of the 7 ports from {port - 6} on is in use" in done.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a b", "has more than letters, digits and"),
        ("%n", "has more than letters, digits and"),
        ("a\nb", "has more than letters, digits and"),
        ("l" * 65, "sockets in it allow 64"),
        ("missing/new", "cannot be created"),
        ("file", "is a link or no folder"),
        ("link", "is a link or no folder"),
        ("full", "holds something else"),
        ("open", "others may enter"),
        ("foreign", "belongs to another user"),
    ],
)
def test_hostile_folder_is_refused(folder: Path, name: str, told: str) -> None:
    (folder / "file").touch()
    (folder / "link").symlink_to(folder)
    (folder / "full" / "data").mkdir(parents=True)
    (folder / "open").mkdir()
    (folder / "open" / "loopback").touch()
    (folder / "open").chmod(0o755)
    if name == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        (folder / "foreign").mkdir()
        os.chown(folder / "foreign", 1, 1)
    done = command(folder / name, "up", check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.endswith("choose another folder\n")
    assert (folder / "full").stat().st_mode & 0o777 != 0o700


def test_before_the_first_up(folder: Path) -> None:
    new = folder / "new"
    assert [command(new, verb, check=False).returncode for verb in ("status", "down", "env", "up-side")] == [1, 0, 1, 2]
    assert command(new, "node-kill", "lb1", check=False).returncode == 1
    assert not new.exists()


@pytest.mark.needs_root
def test_without_root(folder: Path) -> None:
    """Another user, who may own nothing but a folder, has the whole cluster too."""
    user = "daemon"
    folder.chmod(0o711)
    (folder / "state").mkdir(mode=0o700)
    shutil.chown(folder / "state", user)
    script = shutil.copy(SCRIPT, folder / "loopback")
    Path(script).chmod(0o755)
    body = f"""
        cd {folder}; export RNNLIMITS_LOOPBACK_DIR={folder}/state RNNLIMITS_LOOPBACK_NODES=2
        trap './loopback down' EXIT
        ./loopback up && eval "$(./loopback env)" || exit
        srun --nodes=2 id -un
        job=$(sbatch --parsable --wait --output=/dev/null --partition=gpu --gres=gpu:2 --wrap true)
        for _ in {{1..50}}; do sacct -XnPj $job --format=state | grep -q COMPLETED && break; sleep 0.1; done
        sacct -XnPj $job --format=user,state,alloctres%60
    """
    words = ["/usr/sbin/runuser", "-u", user, "--", "bash", "-c", body]
    done = subprocess.run(words, env=PLAIN, capture_output=True, text=True, timeout=HANG)
    assert vanished(folder / "state")
    first, second, accounted = done.stdout.splitlines()
    assert [first, second] == [user, user], done.stderr
    assert accounted.startswith(f"{user}|COMPLETED|")
    assert "gres/gpu=2" in accounted


def test_slurm_notices_that_a_node_died_and_takes_it_back(small: Loopback, lost: tuple[str, set[int]]) -> None:
    assert small.wait_for(lost[0], "NODE_FAIL", "FAILED", "CANCELLED", "COMPLETED") == "NODE_FAIL"
    assert command(small.folder, "status", check=False).returncode == 1
    small.start_node("lb2")
    assert small.run("srun", "--nodelist=lb2", "printenv", "SLURMD_NODENAME").stdout == "lb2\n"
    assert command(small.folder, "status").returncode == 0


def test_killed_daemons_are_started_again(small: Loopback) -> None:
    job = small.submit("sleep 7200", "--nodelist=lb1")
    small.wait_for(job, "RUNNING")
    for pid in daemons(small.folder).values():
        os.kill(int(pid), signal.SIGKILL)
    assert command(small.folder, "status", check=False).returncode == 1
    command(small.folder, "up", nodes=2)
    assert command(small.folder, "status").returncode == 0
    assert "sleep" not in processes(small.folder).values()
    assert small.run("srun", "--nodes=2", "printenv", "SLURMD_NODENAME").stdout.split() in (
        ["lb1", "lb2"],
        ["lb2", "lb1"],
    )


def test_down_leaves_nothing_and_spares_the_rest(small: Loopback) -> None:
    job = small.submit("setsid sleep 7200 & sleep 7200", "--nodelist=lb1")
    small.wait_for(job, "RUNNING")
    small.kill_node("lb1")
    command(small.folder, "down")
    assert vanished(small.folder)
    assert command(small.folder, "status", check=False).returncode == 1
    with subprocess.Popen(["sleep", "60"]) as bystander:
        # A record from before a restart of the machine: its number has gone to another process.
        (small.folder / "run" / "munged.pid").write_text(f"{bystander.pid} 1\n")
        command(small.folder, "down")
        assert bystander.poll() is None
        bystander.kill()


def test_as_many_clusters_as_folders(loopback: Loopback, small: Loopback) -> None:
    command(small.folder, "up", nodes=3, cpus=3, gpus=0)  # what was asked for when it last started is not kept
    assert small.run("sinfo", "-ho", "%R %D %c").stdout.split("\n")[:2] == ["cpu 3 3", "urgent 3 3"]
    assert loopback.run("sinfo", "-ho", "%R %D %c").stdout.startswith("cpu 4 4\n")
