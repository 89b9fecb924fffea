"""The cost of a study: time of cores and GPUs for each cell, shards and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.files.reading import File, attribute_of, open_complete
from rnnlimits.kernels import BACKENDS
from rnnlimits.plan.parts import Ensemble, Part, ensembles

TIMED = "run_seconds"
DEVICES = {entry.name for entry in BACKENDS.values() if entry.on_device}  # whose blocks are timed on a GPU


@dataclass(frozen=True)
class Cost:
    """The cost of one ensemble, or of all: seconds of cores and GPUs (None: not recorded), replicas, shards, bytes.

    backends, devices: those that occur among the shards.
    """

    file: Path | None
    replicas: int
    shards: int
    bytes: int
    core_seconds: float | None
    gpu_seconds: float | None
    backends: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()


def costs(parts: Sequence[Part]) -> list[Cost]:
    """A line for every ensemble of a study: networks, then their twins, then draws.

    Times are volatile and come from the files, so the same files give the same costs. Raises StudyError naming an
    ensemble or a shard that is missing or damaged.
    """
    every = ensembles(parts)
    virtual = sorted((one for one in every if one.is_virtual), key=lambda one: not one.replicas)
    networks = [_of_ensemble(one.output.path) for one in virtual]
    return [*networks, *(_of_copy(one) for one in every if not one.is_virtual)]


def _of_copy(ensemble: Ensemble) -> Cost:
    """Cost of draws, whose shards are not timed."""
    present = [block.path for block in ensemble.blocks if block.path.exists()]  # an exact law needs none
    return Cost(ensemble.output.path, 0, len(present), _bytes(present), None, None)


def total(each: Sequence[Cost]) -> Cost:
    """The total cost, without times that are not recorded."""
    return Cost(
        None,
        sum(cost.replicas for cost in each),
        sum(cost.shards for cost in each),
        sum(cost.bytes for cost in each),
        sum(cost.core_seconds or 0.0 for cost in each),
        sum(cost.gpu_seconds or 0.0 for cost in each),
    )


def _of_ensemble(path: Path) -> Cost:
    """Cost of an ensemble, from the shards that it was joined from: blocks of another size may have written them."""
    with open_complete(path, None) as file:
        shards = file.shards
        timed = TIMED in file
        count = len(file["replica"] if "replica" in file else file["path"])
        backends, devices = (_occurring(file, name) for name in ("shard_backend", "shard_device"))
        seconds = float(file[TIMED][()].sum()) if timed else 0.0
        # Of an ensemble restored from a packed file, which has its values in place of shards.
        joined, size = len(shards) or int(attribute_of(file, "shard_count") or 0), _bytes(shards or [path])
    if not timed:
        return Cost(path, count, joined, size, None, None, backends, devices)
    gpu = 0.0
    if DEVICES & backends:
        gpu = seconds if backends <= DEVICES else sum(map(_on_gpu, shards))
    return Cost(path, count, joined, size, seconds - gpu, gpu, backends, devices)


def _occurring(file: File, attribute: str) -> frozenset[str]:
    return frozenset(str(attribute_of(file, attribute) or "").split(", ")) - {""}


def _on_gpu(path: Path) -> float:
    """Seconds of a shard if a GPU computed it, else 0: for an ensemble whose shards come from both."""
    with open_complete(path, None) as file:
        return float(file[TIMED][()].sum()) if attribute_of(file, "backend") in DEVICES else 0.0


def _bytes(paths: Iterable[Path]) -> int:
    try:
        return sum(path.stat().st_size for path in paths)
    except OSError as error:
        raise StudyError(f"{error.filename}: is missing; run the same command again") from error
