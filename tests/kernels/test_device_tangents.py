"""Tangents on an emulated GPU: against the definition and the host, and what must not change a bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emulation import emulated
from processors import host
from tangent_cases import SHAPES, Case, distance, equal, rich

from rnnlimits.kernels import device_tangents, launch
from rnnlimits.kernels.interface import KernelError, Training
from rnnlimits.kernels.reference_tangents import SPACING

pytestmark = pytest.mark.needs_compiler

ROUNDING = 2e-14  # sums of the same terms in another order, over a dozen steps
DIRECTIONS = 2 * launch.DIRECTIONS + 3  # the last group is not full
ERF = SHAPES[1]


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]}{shape[1]}")
def training(request: pytest.FixtureRequest) -> Training:
    return rich(*request.param)


def test_the_device_has_the_hosts_tangents(training: Training) -> None:
    case = Case.draw(training, DIRECTIONS, steps=12)
    assert distance(case.shown(emulated()), case.shown(host)) < ROUNDING


def test_the_device_has_the_definitions_tangents() -> None:
    """To the error of its differences."""
    case = Case.draw(rich(*ERF[:-1], 0.0), 2, paths=1)
    ours, defined = case.shown(emulated()), case.defined(SPACING)
    for name, wanted in defined.items():
        for part, tolerance in ((0, 1e-12), (slice(1, -1), 1e-9), (-1, 1e-8)):
            scale = np.abs(wanted[..., part]).max()
            assert np.abs(ours[name][..., part] - wanted[..., part]).max() < tolerance * scale, (name, part)
            assert scale > 1e-7, name


@pytest.mark.parametrize("nodes", [1, 33, 300])
def test_any_number_of_nodes(nodes: int) -> None:
    """Fewer than threads, or several for each."""
    assert launch.tangent_threads(nodes) == {1: 64, 33: 96, 300: 192}[nodes]
    case = Case.draw(rich(*SHAPES[0]), 3, paths=1, steps=4, nodes=nodes)
    assert distance(case.shown(emulated(), 2), case.shown(host, 2)) < ROUNDING


def test_a_block_has_threads_for_all_nodes() -> None:
    for nodes in range(1, 3000):
        threads = launch.tangent_threads(nodes)
        assert threads % 32 == 0
        assert 64 <= threads <= launch.BLOCK_THREADS
        each = -(-nodes // (threads - 32))
        assert each == -(-nodes // (launch.BLOCK_THREADS - 32)), "no thread has more nodes than it must"


def test_segments_change_no_bit(training: Training) -> None:
    case = Case.draw(training, DIRECTIONS, steps=7)
    whole = case.cut(emulated(), [7])
    assert equal(case.cut(emulated(), [1, 4, 2]), whole)
    assert equal(case.cut(emulated(), [5, 2]), whole)


def test_the_order_of_turns_changes_no_bit(training: Training) -> None:
    case = Case.draw(training, DIRECTIONS, steps=7)
    assert equal(*(case.cut(emulated(backwards=order), [5, 2], often=True) for order in (False, True)))


def test_company_and_the_grid_change_no_bit(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.draw(training, DIRECTIONS, paths=3, steps=5)
    together = case.cut(emulated(), [3, 2])
    alone = slice(1, 2)
    assert equal(case.paths(alone).cut(emulated(), [3, 2]), together, alone)
    monkeypatch.setattr(device_tangents, "MOST_BLOCKS", 2)
    assert equal(case.cut(emulated(), [3, 2]), together)


def test_before_the_first_step_a_twin_is_its_nodes() -> None:
    """Memory and output of the ends alone, by hand: nothing has drifted."""
    training = rich(*SHAPES[0])
    case = Case.draw(training, 5, paths=1)
    tangents = emulated().tangents(training, case.nodes, case.ends, 1)
    assert not tangents.square_drifts().any()
    output, _ = tangents.probe(case.histories[:, :1])
    value, ends = (np.tanh(points.w @ case.histories[:, 0].T) for points in (case.nodes, case.ends))
    assert training.richness is not None
    wanted = (case.nodes.weight * case.nodes.c) @ value / training.richness
    np.testing.assert_allclose(output[0, :, 0], wanted, rtol=1e-13)
    first = case.ends.c[:, None] * ends / training.richness - wanted
    np.testing.assert_allclose(output[0, :, 1:-1], (np.sqrt(case.ends.weight)[:, None] * first).T, rtol=1e-12)


def test_what_does_not_fit_is_refused_before_anything_starts() -> None:
    """A node of tanh, d = 1, tau = 1, with B trained is 4 numbers and 5 jets; one path has a group of directions."""
    training, numbers = rich(*SHAPES[0]), launch.DIRECTIONS + 2
    case = Case.draw(training, launch.DIRECTIONS, paths=1, nodes=9000)
    one = 8 * 9000 * (4 + 5 * numbers) + 8 * 1024 * (2 * numbers + 6)
    be = emulated(memory=int(2.02 * one / 0.9))
    be.tangents(training, case.nodes, case.ends, 2)
    with pytest.raises(KernelError, match=r"^tangents of 9000 nodes along 4 directions: 3 paths need .*; 2 w") as no:
        be.tangents(training, case.nodes, case.ends, 3)
    assert "\n" not in str(no.value)
    assert "rich.directions" in str(no.value)
    assert set(be._runtime.launched) == {"tangent_layouts"}  # type: ignore[attr-defined]
    with pytest.raises(KernelError, match=r"not even one fits: lower rich\.directions or limit\.nodes, or use --ba"):
        emulated(memory=1000).tangents(training, case.nodes, case.ends, 1)


def test_what_is_compared_is_far_larger_than_rounding(training: Training) -> None:
    case = Case.draw(training, DIRECTIONS, steps=12)
    still = replace(case, training=replace(training, alpha=0.0))
    assert distance(still.shown(host), case.shown(host)) > 0.01
