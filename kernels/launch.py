"""The choice of the team of GPU threads for a network: a pure function of the network and of the device's limits.

A team is a warp, a block, a cluster of blocks, or blocks that synchronise in device memory (src/groups.h). Each member
keeps `slots` units in registers; with 0 slots it streams them from device memory. The choice depends neither on the
number of replicas nor on other work: a replica's sums are added in the same order whatever ensemble it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import KernelError, Training

WARP = 32
SLOTS = (1, 2, 3, 4, 6, 8, 12, 16)  # units that a member may keep in registers; each is a compiled program
UNIT_WORDS = 128  # of the 255 registers of a thread, this many may hold units; a step needs the others
BLOCK_THREADS = 256  # so that one block with 255 registers per thread always fits on a multiprocessor
TEAMS_PER_BLOCK = 4  # warps that share a block, each with its own replica
CLUSTERS = (2, 4, 8, 16)  # blocks; 16 exceeds CUDA's portable size, but Hopper and Blackwell allow it
STREAMING_BLOCKS = 1  # blocks per multiprocessor if units are streamed: some programs need all its registers
DIRECTIONS = 4  # along which one number carries derivatives: more, and a step of a narrow unit leaves the registers
TEAMS = ("warp", "block", "cluster", "grid")  # in the order of TEAM_... in src/device_train.cu


@dataclass(frozen=True)
class Limits:
    """The limits of a device: multiprocessors that can each hold a block at once, and its compute capability."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int

    @property
    def architecture(self) -> int:
        """The compute capability as one number: 90 for 9.0."""
        return 10 * self.capability[0] + self.capability[1]

    @property
    def clusters(self) -> tuple[int, ...]:
        """Allowed sizes of a cluster: none before Hopper, at most 8 on consumer devices, at most half of a device."""
        if self.capability < (9, 0):
            return ()
        most = 16 if self.capability[0] in (9, 10) else 8
        return tuple(size for size in CLUSTERS if size <= min(most, self.multiprocessors // 2))


@dataclass(frozen=True)
class Launch:
    """Geometry of a program: `slots` units per member (0: streamed), `threads` per block, `blocks` per team."""

    team: str
    slots: int
    threads: int
    blocks: int = 1

    @property
    def members(self) -> int:
        """Number of threads that share a replica."""
        return WARP if self.team == "warp" else self.threads * self.blocks

    @property
    def macros(self) -> dict[str, int]:
        """The macros for compiling src/device_train.cu; the launch bound is not the exact size of a block."""
        threads = TEAMS_PER_BLOCK * WARP if self.team == "warp" else BLOCK_THREADS
        macros = {"TEAM": TEAMS.index(self.team), "SLOTS": self.slots, "THREADS": threads}
        return {**macros, "CLUSTER": self.blocks} if self.team == "cluster" else macros

    def grid(self, replicas: int, limits: Limits) -> int:
        """Blocks to launch. Teams that synchronise in device memory must all run at once, and take replicas in turn."""
        if self.team == "warp":
            return -(-replicas // TEAMS_PER_BLOCK)
        if self.team != "grid":
            return replicas * self.blocks
        at_once = limits.multiprocessors * (STREAMING_BLOCKS if self.slots == 0 else 1)
        assert self.blocks <= at_once, f"{self} does not fit on {limits}"
        return min(replicas, at_once // self.blocks) * self.blocks


def words_per_unit(training: Training) -> int:
    """32-bit registers that one unit takes: the size of struct Unit of src/unit.h, without a compiler.

    Enough for the choice of a launch; the layout of memory follows what the compiled source reports.
    """
    slopes = training.depth if ACTIVATIONS[training.activation].slope_of_value is None else 0
    values = 2 * training.dimension + 4 + max(1, training.depth + training.update_b) + slopes + training.weighted
    return values * (2 if training.precision == "float64" else 1)


def most_slots(training: Training) -> int:
    """The most units that a member can keep in registers; 0 if not even one fits."""
    return max((slots for slots in SLOTS if slots * words_per_unit(training) <= UNIT_WORDS), default=0)


def choose(training: Training, limits: Limits) -> Launch:
    """The team for one replica of a network: the smallest kind that holds all its units in registers.

    Raises KernelError for a device older than compute capability 7.0.
    """
    if limits.capability < (7, 0):
        capability = ".".join(map(str, limits.capability))
        raise KernelError(
            f"{limits.name} has compute capability {capability}; 7.0 or newer is needed; use --backend host"
        )
    slots, width = most_slots(training), training.width
    if slots == 0 or width > slots * BLOCK_THREADS * max(limits.multiprocessors, *limits.clusters, 1):
        return _streamed(width, limits)
    if width <= slots * WARP:
        return Launch("warp", _enough(width, WARP), TEAMS_PER_BLOCK * WARP)
    for blocks in (1, *limits.clusters):
        if width <= slots * BLOCK_THREADS * blocks:
            threads = WARP * -(-width // (WARP * slots * blocks))
            return Launch("cluster" if blocks > 1 else "block", _enough(width, threads * blocks), threads, blocks)
    blocks = -(-width // (slots * BLOCK_THREADS))
    return Launch("grid", _enough(width, BLOCK_THREADS * blocks), BLOCK_THREADS, blocks)


def _enough(width: int, members: int) -> int:
    return min(slots for slots in SLOTS if slots * members >= width)


def _streamed(width: int, limits: Limits) -> Launch:
    """A block if that leaves little work for each of its threads, else the whole device."""
    if width <= 16 * BLOCK_THREADS:
        return Launch("block", 0, BLOCK_THREADS)
    return Launch("grid", 0, BLOCK_THREADS, limits.multiprocessors * STREAMING_BLOCKS)


def specialisation(training: Training) -> dict[str, object]:
    """Macros of src/unit.h for a training."""
    kind = {"WEIGHTED": 1} if training.weighted else {}
    return {**kind, "REAL": {"float32": "float", "float64": "double"}[training.precision], **of_unit(training)}


def of_unit(training: Training) -> dict[str, object]:
    """Those macros whatever the type of numbers."""
    return {
        "DIMENSION": training.dimension,
        "DEPTH": training.depth,
        **ACTIVATIONS[training.activation].macros,
        "UPDATE_B": int(training.update_b),
    }


def of_tangents(training: Training) -> dict[str, object]:
    """Macros of src/device_tangents.cu for a training."""
    return {**of_unit(training), "DIRECTIONS": DIRECTIONS}


def tangent_threads(nodes: int) -> int:
    """Threads of a block that follows so many nodes, and with its last warp the ends of a group of directions."""
    most = BLOCK_THREADS - WARP
    each = -(-nodes // most)
    return WARP * -(-nodes // (WARP * each)) + WARP
