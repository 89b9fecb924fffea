"""Memory that a Gram matrix may take: the smallest of the limits of machine, control group, process and job."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk import memory

MIB = 2**20


def machine(root: Path, files: dict[str, str]) -> Path:
    """A machine with 1000 MiB free; the process uses 10 MiB."""
    known = {
        "proc/meminfo": "MemTotal: 9999999 kB\nMemAvailable: 1024000 kB\n",
        "proc/self/status": "VmRSS:\t10240 kB\n",
    }
    for name, text in {**known, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


GROUP_2 = {
    "proc/self/cgroup": "0::/jobs/mine\n",
    "sys/fs/cgroup/jobs/mine/memory.max": "max\n",
    "sys/fs/cgroup/jobs/mine/memory.current": f"{50 * MIB}\n",
    "sys/fs/cgroup/jobs/memory.max": f"{300 * MIB}\n",
    "sys/fs/cgroup/jobs/memory.current": f"{250 * MIB}\n",
    "sys/fs/cgroup/jobs/memory.stat": f"anon {200 * MIB}\ninactive_file {40 * MIB}\n",
}
GROUP_1 = {
    "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n0::/\n",
    "sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes": f"{100 * MIB}\n",
    "sys/fs/cgroup/memory/slurm/job_7/memory.usage_in_bytes": f"{30 * MIB}\n",
}


@pytest.mark.parametrize(
    ("files", "environment", "mib", "of"),
    [
        ({}, {}, 1000, "of this machine"),
        (GROUP_2, {}, 90, "of this process's control group"),
        (GROUP_1, {}, 70, "of this process's control group"),
        ({"proc/self/cgroup": "0::/gone\nnonsense:::\n"}, {}, 1000, "of this machine"),
        ({}, {"SLURM_MEM_PER_NODE": "500"}, 490, "of this Slurm job"),
        ({}, {"SLURM_MEM_PER_CPU": "200", "SLURM_CPUS_ON_NODE": "4"}, 790, "of this Slurm job"),
        ({}, {"SLURM_MEM_PER_NODE": "0"}, 1000, "of this machine"),
        ({}, {"SLURM_MEM_PER_NODE": "all", "SLURM_CPUS_ON_NODE": "4"}, 1000, "of this machine"),
        (GROUP_1, {"SLURM_MEM_PER_NODE": "500"}, 70, "of this process's control group"),
    ],
)
def test_the_smallest_limit(
    files: dict[str, str], environment: dict[str, str], mib: int, of: str, tmp_path: Path
) -> None:
    assert memory.room(machine(tmp_path, files), environment) == (mib * MIB, of)


def test_the_limit_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path, {"proc/self/status": "VmSize:\t 40960 kB\nVmRSS:\t10240 kB\n"})
    monkeypatch.setattr(
        resource, "getrlimit", lambda which: (200 * MIB, -1) if which == resource.RLIMIT_AS else (-1, -1)
    )
    assert memory.room(root, {}) == (160 * MIB, "ulimit -v")


def test_a_refusal_says_which_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "room", lambda: memory.Room(2**30, "of this Slurm job"))
    memory.require_room(8192, 8192, 8, 2)
    with pytest.raises(KernelError, match=r"8193 x 8192 needs 1 GiB of memory, 1 GiB can be had \(of this Slurm job\)"):
        memory.require_room(8193, 8192, 8, 2)
