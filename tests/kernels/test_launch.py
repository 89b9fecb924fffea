"""Which team owns a network: written out for telling cases, and what must hold for every one of them.

That compiled programs keep to the registers assumed here is checked in test_nvrtc.py.
"""

from __future__ import annotations

import inspect
import subprocess
from dataclasses import replace
from itertools import product

import pytest
from device_cases import A100, B200, H100, RTX_4090, RTX_5090, TINY, V100

from rnnlimits.kernels import compiler, launch, toolchain
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import KernelError, Training
from rnnlimits.kernels.launch import Launch, Limits

DEVICES = (V100, A100, RTX_4090, H100, B200, RTX_5090, TINY)


def network(
    width: int, precision: str = "float32", dimension: int = 1, depth: int = 1, activation: str = "tanh"
) -> Training:
    return Training(width, dimension, 0.75, 100, activation, depth=depth, precision=precision)


# A float32 unit of d = 1, tau = 1 is 8 words, so a thread keeps 16 of them; one in double precision is 16 words, so 8.
# With d = 10, tau = 3 it is 28 or 56 words: 4 or 2 units. erf adds tau words.
CASES = [
    # a warp, as long as its lanes hold all units; it keeps no more slots than it needs
    (network(1), H100, Launch("warp", 1, 128)),
    (network(32), H100, Launch("warp", 1, 128)),
    (network(33), H100, Launch("warp", 2, 128)),
    (network(129), H100, Launch("warp", 6, 128)),
    (network(512), H100, Launch("warp", 16, 128)),
    (network(256, "float64"), H100, Launch("warp", 8, 128)),
    (network(64, "float64", 10, 3), H100, Launch("warp", 2, 128)),
    # a block, of as few threads as hold all units
    (network(513), H100, Launch("block", 12, 64)),
    (network(257, "float64"), H100, Launch("block", 6, 64)),
    (network(65, "float64", 10, 3), H100, Launch("block", 2, 64)),
    (network(1000), V100, Launch("block", 16, 64)),
    (network(4096), H100, Launch("block", 16, 256)),
    (network(4096), A100, Launch("block", 16, 256)),
    (network(2048, "float64"), RTX_4090, Launch("block", 8, 256)),
    # more than a block: clusters where there are any, up to 8 or 16 blocks, else blocks that meet in device memory
    (network(4097), H100, Launch("cluster", 16, 160, 2)),
    (network(4097), RTX_5090, Launch("cluster", 16, 160, 2)),
    (network(4097), A100, Launch("grid", 12, 256, 2)),
    (network(4097), V100, Launch("grid", 12, 256, 2)),
    (network(4097), RTX_4090, Launch("grid", 12, 256, 2)),
    (network(4097, "float64"), H100, Launch("cluster", 8, 160, 4)),
    (network(4097, "float64", 3, 3), H100, Launch("cluster", 4, 160, 8)),
    (network(4097, "float64", 10, 3), H100, Launch("cluster", 2, 160, 16)),
    (network(4097, "float64", 10, 3), RTX_5090, Launch("grid", 2, 256, 9)),
    (network(65_536), H100, Launch("cluster", 16, 256, 16)),
    (network(65_536), B200, Launch("cluster", 16, 256, 16)),
    (network(65_536), RTX_5090, Launch("grid", 16, 256, 16)),
    (network(65_537), H100, Launch("grid", 16, 256, 17)),
    (network(100_000), A100, Launch("grid", 16, 256, 25)),
    (network(100_000, activation="erf"), A100, Launch("grid", 12, 256, 33)),  # 9 words
    # the last that all registers of the device hold, and the first that is streamed
    (network(540_672), H100, Launch("grid", 16, 256, 132)),
    (network(540_673), H100, Launch("grid", 0, 256, 132)),
    (network(16_384), TINY, Launch("grid", 16, 256, 4)),
    (network(16_385), TINY, Launch("grid", 0, 256, 4)),
    (network(10_000_000), A100, Launch("grid", 0, 256, 108)),
    # units too large for registers: streamed by a block, or by the whole device
    (network(1, "float64", 31), H100, Launch("block", 0, 256)),
    (network(4096, "float64", 31), H100, Launch("block", 0, 256)),
    (network(4097, "float64", 31), H100, Launch("grid", 0, 256, 132)),
    (network(1, "float64", 29), H100, Launch("warp", 1, 128)),
]


@pytest.mark.parametrize(("training", "limits", "team"), CASES, ids=lambda value: getattr(value, "name", None))
def test_the_team(training: Training, limits: Limits, team: Launch) -> None:
    assert launch.choose(training, limits) == team


WIDTHS = sorted({width + near for power in range(24) for width in (2**power, 3 * 2**power) for near in (-1, 0, 1)})
WIDTHS = [width for width in [*WIDTHS, 10**7] if 1 <= width <= 10**7]
NETWORKS = [(1, 1), (1, 3), (3, 2), (10, 1), (10, 5), (40, 1)]  # d, tau


@pytest.mark.parametrize("limits", DEVICES, ids=lambda limits: limits.name)
def test_a_team_fits_on_its_device(limits: Limits) -> None:
    for precision, activation, (dimension, depth) in product(("float32", "float64"), ACTIVATIONS, NETWORKS):
        for width in WIDTHS:
            training = network(width, precision, dimension, depth, activation)
            check(training, launch.choose(training, limits), limits)


def check(training: Training, team: Launch, limits: Limits) -> None:
    words = launch.words_per_unit(training)
    assert team.slots * words <= launch.UNIT_WORDS, team
    assert team.slots == 0 or team.members * team.slots >= training.width, team
    assert team.threads % 32 == 0, team
    assert 32 <= team.threads <= team.macros["THREADS"] <= 256, team
    assert team.team != "cluster" or team.blocks in limits.clusters, (team, limits)
    assert team.team in ("cluster", "grid") or team.blocks == 1, team
    for replicas in (1, 7, 1000):
        grid = team.grid(replicas, limits)
        assert grid % team.blocks == 0, team
        if team.team == "grid":
            at_once = limits.multiprocessors * (1 if team.slots else launch.STREAMING_BLOCKS)
            assert team.blocks <= grid <= at_once, (team, limits)
        else:
            assert grid * (launch.TEAMS_PER_BLOCK if team.team == "warp" else 1) >= replicas * team.blocks


def test_no_slot_of_a_whole_warp_is_empty_in_a_block() -> None:
    """A block has no warp more than it needs, and no member a slot more that would be empty for all."""
    for width in WIDTHS:
        team = launch.choose(network(width), H100)
        if team.team in ("warp", "block") and team.slots:
            assert (team.threads == 128 and width <= 512) if team.team == "warp" else team.threads * 16 >= width
            assert team.team == "warp" or (team.threads - 32) * 16 < width
            smaller = [slots for slots in launch.SLOTS if slots < team.slots]
            assert not smaller or smaller[-1] * team.members < width


def test_clusters_are_those_that_the_device_has() -> None:
    newer = {(10, 3): 16, (11, 0): 8, (12, 1): 8, (8, 9): 0, (7, 5): 0, (9, 0): 16}
    for capability, largest in newer.items():
        assert max(Limits("", capability, 100).clusters, default=0) == largest


def test_the_number_of_replicas_does_not_enter() -> None:
    """A replica's sums are added in the same order in any ensemble: nothing that is chosen may know of it."""
    assert list(inspect.signature(launch.choose).parameters) == ["training", "limits"]
    assert not {"replicas", "seed"} & Training.__dataclass_fields__.keys()


def test_what_the_program_does_not_know_does_not_enter() -> None:
    """One compiled program serves a cell whatever its beta, rate or clip."""
    training = network(777)
    other = replace(training, beta=0.6, steps_per_time=7, alpha=0.3, clip=0.1)
    assert launch.choose(training, H100) == launch.choose(other, H100)
    assert launch.specialisation(training) == launch.specialisation(other)


@pytest.mark.needs_compiler
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("update_b", [True, False])
def test_words_of_a_unit_are_what_the_compiler_counts(activation: str, update_b: bool) -> None:
    """sizeof(Unit), for every dimension and depth that a network may reasonably have."""
    for dimension, depth in product((1, 2, 3, 10), (1, 2, 3)):
        trainings = [
            replace(network(1, precision, dimension, depth, activation), update_b=update_b)
            for precision in ("float32", "float64")
        ]
        macros = {key: value for key, value in launch.specialisation(trainings[0]).items() if key != "REAL"}
        single, double = map(launch.words_per_unit, trainings)
        source = f"""#define REAL float
            #include "store.h"
            static_assert(sizeof(Unit<float>) == 4 * {single}, "float32");
            static_assert(sizeof(Unit<double>) == 4 * {double}, "float64");
            static_assert(WORD(float, b_drift) == WORD(float, value) - 1, "words are counted in order");"""
        options = ["-std=c++17", "-fsyntax-only", f"-I{compiler.SOURCE}", *(f"-D{n}={v}" for n, v in macros.items())]
        command = [*toolchain.find_compiler(), *options, "-x", "c++", "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"d = {dimension}, tau = {depth}: {done.stderr[:500]}"


def test_words_of_a_unit_are_the_fields_of_its_struct() -> None:
    """w start and drift, c, b; tau past values and one more to train B; slopes for erf; but never no past value."""
    assert launch.words_per_unit(network(1)) == 2 + 4 + 2
    assert launch.words_per_unit(network(1, "float64", 3, 2)) == 2 * (6 + 4 + 3)
    assert launch.words_per_unit(network(1, activation="erf", depth=4)) == 2 + 4 + 5 + 4
    assert launch.words_per_unit(replace(network(1), update_b=False)) == 2 + 4 + 1


@pytest.mark.parametrize(("capability", "found"), [((6, 1), "6.1"), ((5, 2), "5.2")])
def test_an_old_device_is_refused_in_one_line(capability: tuple[int, int], found: str) -> None:
    with pytest.raises(KernelError, match=f"^Old GPU has compute capability {found}; 7.0 or newer is needed; .*host$"):
        launch.choose(network(100), Limits("Old GPU", capability, 28))
