"""Which rank works on which GPU: a table of launchers, the map that is printed, and real ranks on pretended GPUs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from runs import ENVIRONMENT, HANG, MPIEXEC, ROOT, write_study

from rnnlimits.base.errors import StudyError
from rnnlimits.ranks import gpus
from rnnlimits.ranks.gpus import Seat
from rnnlimits.run.stages import require_same

FAKE = [sys.executable, str(ROOT / "tests" / "support" / "fake_cuda.py")]

# environment, GPUs that the rank sees, its rank among those that share memory -> GPU
CHOICES = {
    "alone": ({}, 1, 0, 0),
    "MPICH": ({"MPI_LOCALRANKID": "3", "PMI_RANK": "11"}, 4, 9, 3),
    "Open MPI": ({"OMPI_COMM_WORLD_LOCAL_RANK": "2"}, 4, 0, 2),
    "MVAPICH": ({"MV2_COMM_WORLD_LOCAL_RANK": "1"}, 2, 0, 1),
    "PALS": ({"PALS_LOCAL_RANKID": "5"}, 4, 0, 1),
    "flux run": ({"FLUX_TASK_LOCAL_ID": "1"}, 4, 0, 1),
    "srun": ({"SLURM_LOCALID": "2", "SLURM_PROCID": "6"}, 4, 0, 2),
    "mpiexec in a batch script": ({"SLURM_LOCALID": "0", "MPI_LOCALRANKID": "3"}, 4, 3, 3),
    "one GPU for each task": ({"SLURM_LOCALID": "3"}, 1, 3, 0),
    "more ranks than GPUs": ({"MPI_LOCALRANKID": "7"}, 4, 7, 3),
    "a launcher without such a variable": ({"PMIX_RANK": "6"}, 4, 2, 2),
}


@pytest.mark.parametrize(("environment", "visible", "split", "gpu"), CHOICES.values(), ids=CHOICES.keys())
def test_choice(environment: dict[str, str], visible: int, split: int, gpu: int) -> None:
    assert gpus.choose(environment, visible, split) == gpu


@pytest.mark.parametrize("text", ["", "one", "-1", "1.5", "٣"])
def test_a_wrong_number_is_one_line_that_names_the_variable(text: str) -> None:
    with pytest.raises(StudyError, match=r"OMPI_COMM_WORLD_LOCAL_RANK is .*; allowed: a whole number") as found:
        gpus.choose({"OMPI_COMM_WORLD_LOCAL_RANK": text, "SLURM_LOCALID": "0"}, 2, 0)
    assert "\n" not in str(found.value)


def seats(*where: tuple[str, int, str]) -> list[Seat]:
    return [Seat(node, index, "H100", identity) for node, index, identity in where]


MAPS = {
    "one each": (
        seats(("a", 0, "x"), ("a", 1, "y"), ("b", 0, "x")),
        "rank 0: a GPU 0 (H100); rank 1: a GPU 1 (H100); rank 2: b GPU 0 (H100)",
        None,
    ),
    "four share one": (seats(*[("a", 0, "x")] * 4), "ranks 0-3: a GPU 0 (H100)", 4),
    "round robin": (
        seats(*[("a", 0, "x"), ("a", 1, "y")] * 2, ("a", 0, "x")),
        "ranks 0, 2, 4: a GPU 0 (H100); ranks 1, 3: a GPU 1 (H100)",
        3,
    ),
    "each sees its own as number 0": (
        seats(("a", 0, "a x"), ("a", 0, "a y")),
        "rank 0: a GPU 0 (H100, x); rank 1: a GPU 0 (H100, y)",
        None,
    ),
}


@pytest.mark.parametrize(("places", "line", "crowd"), MAPS.values(), ids=MAPS.keys())
def test_map_and_sharing(places: list[Seat], line: str, crowd: int | None) -> None:
    assert gpus.describe(places) == line
    warning = gpus.sharing(places)
    assert warning is None if crowd is None else warning is not None and f"up to {crowd} ranks" in warning


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (["cuda", "host", "host"], r"\(cuda on rank 0, host on ranks 1-2\); give all a GPU, or --backend host"),
        (["host", "numpy"], "give all a compiler, or --backend numpy"),
    ],
)
def test_unlike_ranks_are_refused(names: list[str], advice: str) -> None:
    with pytest.raises(StudyError, match=advice):
        require_same(names)


def train(
    folder: Path, ranks: int, *words: str, first: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Train one pack; `first`: words between mpiexec and the program."""
    program = [*first, *FAKE, "train", str(write_study(folder)), "--pack", "N00016-K00016", *words]
    settings = {**ENVIRONMENT, **environment}
    command = [MPIEXEC, "-n", str(ranks), *program]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=HANG)


@pytest.mark.needs_mpi
def test_ranks_say_once_where_they_work(tmp_path: Path) -> None:
    done = train(tmp_path, 3, FAKE_GPUS="2")
    assert done.returncode == 0, done.stderr
    map_lines = [line for line in done.stderr.splitlines() if "GPU 0" in line]
    assert len(map_lines) == 1
    assert map_lines[0].startswith("ranks 0, 2: ")
    assert " GPU 1 (Fake 100)" in map_lines[0].split("; rank 1: ")[1]
    assert done.stderr.count("share a GPU") == 1


@pytest.mark.needs_mpi
def test_without_the_gpu_no_map(tmp_path: Path) -> None:
    done = train(tmp_path, 2, "--backend", "numpy", FAKE_GPUS="2")
    assert done.returncode == 0, done.stderr
    assert "GPU" not in done.stderr


REFUSED = {
    "auto": ((), (), "1,0", "ranks found different ones (cuda on rank 0, "),
    "cuda": (("--backend", "cuda"), (), "1,0", "no GPU in this test"),
    # mpiexec sets the variable anew for every rank, so it is spoiled after that
    "variable": (("--backend", "cuda"), ("env", "MPI_LOCALRANKID=x"), "1", "MPI_LOCALRANKID is 'x'; allowed"),
}


@pytest.mark.needs_mpi
@pytest.mark.parametrize(("words", "first", "counts", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_ranks_that_cannot_have_one_are_one_line(
    tmp_path: Path, words: tuple[str, ...], first: tuple[str, ...], counts: str, says: str
) -> None:
    done = train(tmp_path, 2, *words, first=first, FAKE_GPUS=counts)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
