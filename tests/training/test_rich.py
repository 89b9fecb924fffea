"""Rich twins: towards the infinite-width twin as the richness goes to zero, symmetry, and what may not change a bit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from emulation import emulated
from interrupted import Killed, OfRich, Ticks
from processors import host, reference

from rnnlimits import study as studies
from rnnlimits.chains import paths as chains
from rnnlimits.files import store
from rnnlimits.kernels.interface import Array, Training
from rnnlimits.ranks import parallel
from rnnlimits.ranks.checkpoints import Pace
from rnnlimits.ranks.parallel import Stopped
from rnnlimits.study import Study
from rnnlimits.study.grid import RichTwin
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.training import plan, rich, tangents, twin
from rnnlimits.training.layout import Layout
from rnnlimits.training.plan import RichBlock

pytestmark = pytest.mark.needs_compiler

SKEWED = {"network": {"c": {"kind": "two-point", "probability": 0.1}}}
RICH = {"follow": True, "epsilon": [0.25], "steps_per_time": 64, "paths": 4, "c_nodes": 3, "directions": 4}
BASE: dict[str, Any] = {"twin": {"follow": True}, "rich": RICH}
FINE = {"limit": {"nodes": 64}}  # the twin's memory has nodes of its own


def small(folder: Path, **changes: Any) -> Study:
    return studies.load(runs.write_study(folder, **{**BASE, **changes}))


def followed(study: Study, richness: float, first: int = 0, count: int = 2) -> rich.Rich:
    block = RichBlock(RichTwin(richness, 64, 1, 0.0, 4), first, count)
    return rich.follow_block(study, host, block, chains.probe_histories(study, host), lambda _: None)


def distances(study: Study, *richness: float) -> list[float]:
    """Root mean square over paths and probes of rich twins less the infinite-width twin, at the end."""
    block = plan.TwinBlock(plan.Twin(64, 4), 0, 2)
    limit = twin.follow_block(study, host, block, twin.features_at_probes(study, host), lambda _: None).output[:, -1]
    outputs = [followed(study, eps).observed["output"][:, 0, -1] for eps in richness]
    assert np.abs(limit).max() > 0.1
    return [float(np.sqrt(np.square(output - limit).mean())) for output in outputs]


# --- the limit of small richness -------------------------------------------------------------------------------


def test_a_symmetric_law_is_of_second_order(tmp_path: Path) -> None:
    """The fourth order leaves (eps/2)^2 of relative size one in the local order; rounding 1e-13 / eps^2."""
    large, half, small_ = distances(small(tmp_path, **FINE), 2e-2, 1e-2, 1e-3)
    assert math.log2(large / half) == pytest.approx(2.0, abs=0.005)
    assert math.log10(half / small_) == pytest.approx(2.0, abs=0.005)
    assert small_ > 1e-10


def test_a_skewed_law_is_of_first_order(tmp_path: Path) -> None:
    large, half = distances(small(tmp_path, **FINE, **SKEWED), 2e-4, 1e-4)
    assert math.log2(large / half) == pytest.approx(1.0, abs=0.005)
    assert half > 1e-7


def test_the_memory_goes_to_that_of_the_limit(tmp_path: Path) -> None:
    study = small(tmp_path, **FINE)
    histories, law = chains.probe_histories(study, host), ParameterLaw.of(study)
    wanted = law.memory_path(host, histories, np.zeros(len(histories)))[:, -2]  # which goes with the last input
    found = followed(study, 1e-4).observed["memory"][:, 0, -1]
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=0, atol=1e-8)
    assert np.abs(wanted).max() > 0.1


# --- symmetry --------------------------------------------------------------------------------------------------


def mirrored(study: Study, sign: float, b: bool = True, richness: float = 0.3) -> Array:
    """Outputs on the probes at the end of one path, at the richness times `sign`; without B, with B = 0 throughout."""
    nodes = rich.unit_nodes(study, ParameterLaw.of(study))
    training: Training = rich.kernel_training(study, RichTwin(richness, 64, 1, 0.0, 4), sign, len(nodes))
    trainer = host.trainer(replace(training, update_b=b), 1)
    trainer.fill(0, nodes.w, nodes.b if b else 0 * nodes.b, nodes.c)
    trainer.weigh(nodes.weight)
    x, _, y = chains.training_paths(study, host, np.array([0], dtype=np.uint32)).take(64)
    trainer.run(x, y)
    trainer.settle()
    return trainer.probe(chains.probe_histories(study, host))[0]


def test_outputs_are_even_in_the_richness_where_the_law_is_symmetric(tmp_path: Path) -> None:
    study = small(tmp_path)
    np.testing.assert_allclose(mirrored(study, -1.0), mirrored(study, 1.0), rtol=0, atol=1e-13)
    skewed = small(tmp_path, **SKEWED)
    assert np.abs(mirrored(skewed, 1.0) - mirrored(skewed, -1.0)).max() > 1e-2


def test_an_odd_network_without_memory_has_no_first_order(tmp_path: Path) -> None:
    """An accident of odd sigma and symmetric W: E C^3 then multiplies an odd function of W."""
    study = small(tmp_path, **SKEWED)
    odd = {
        b: np.abs(mirrored(study, 1.0, b, 1e-3) - mirrored(study, -1.0, b, 1e-3)).max() / 2e-3 for b in (True, False)
    }
    assert odd[True] > 1e-2
    assert odd[False] < 1e-4


def test_the_second_member_is_the_first_at_the_opposite_richness(tmp_path: Path) -> None:
    study = small(tmp_path, training={"antithetic": True}, **SKEWED)
    assert rich.signs(study) == (1.0, -1.0)
    found = followed(study, 0.3, count=1).observed["output"][0, :, -1]
    np.testing.assert_array_equal(found, np.concatenate([mirrored(study, 1.0), mirrored(study, -1.0)]))
    assert rich.signs(small(tmp_path, training={"antithetic": True})) == (1.0,)


# --- back ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "device"])
def test_back_ends_agree_on_a_whole_block(name: str, tmp_path: Path) -> None:
    study, be = small(tmp_path, training={"kernel": True}, **SKEWED), emulated() if name == "device" else reference
    block, histories = RichBlock(RichTwin(0.3, 64, 2, 0.2, 4), 1, 2), chains.probe_histories(study, host)
    ours, theirs = (rich.follow_block(study, each, block, histories, lambda _: None) for each in (host, be))
    for key, values in ours.observed.items():
        np.testing.assert_allclose(theirs.observed[key], values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(theirs.loss, ours.loss, rtol=0, atol=1e-12)


# --- bits ------------------------------------------------------------------------------------------------------


def test_a_path_is_the_same_in_any_block(tmp_path: Path) -> None:
    study = small(tmp_path, training={"kernel": True})
    whole = followed(study, 0.3, 0, 4)
    parts = [followed(study, 0.3, 0, 1), followed(study, 0.3, 1, 3)]
    for name, values in whole.observed.items():
        np.testing.assert_array_equal(np.concatenate([part.observed[name] for part in parts]), values)
    np.testing.assert_array_equal(np.concatenate([part.loss for part in parts]), whole.loss)


@pytest.mark.parametrize("by", [Killed, Stopped])
def test_cut_everywhere_it_ends_the_same(by: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two members, both depths of memory of a state, and a checkpoint on the way."""
    monkeypatch.setattr(rich, "MOST_STEPS", 7)
    training: dict[str, Any] = {
        "width": [16],
        "steps_per_time": [80],
        "checkpoints": [0.25, 1.0],
        "depth": [2],
        "clip": 0.1,
    }
    training["kernel"] = True
    study = small(tmp_path, training=training, **SKEWED)
    calm = OfRich(study, host, tmp_path / "calm")
    calm.live(Ticks(), Pace(math.inf))
    lives: list[Ticks] = []
    while not lives or len(lives[-1].amounts) == 3:
        done = OfRich(study, host, tmp_path)
        lives.append(Ticks(3, by))
        try:
            done.live(lives[-1], Pace(0.0 if by is Killed else math.inf))
        except (Killed, Stopped):
            continue
        break
    assert len(lives) > 3
    assert all(life.earlier > 0 for life in lives[1:])
    assert store.digest_of(done.shard) == store.digest_of(calm.shard)


@pytest.mark.needs_mpi
def test_any_number_of_ranks_and_any_blocks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich twins and tangents: on one rank in this process with small blocks, and on two ranks with usual ones."""
    training = {"replicas_per_block": 2, "width": [16]}
    one = small(tmp_path, training=training)
    monkeypatch.setattr(plan, "RICH_STEPS", 1)
    monkeypatch.setattr(plan, "TANGENT_PATHS", 1)
    layout = Layout.of(one, tmp_path / "one")
    for stage in (rich, tangents):
        stage.run(one, layout, parallel.world(), host)
    two = runs.write_study(tmp_path, **{**BASE, "training": training})
    runs.run("work", two, "rich", "tangents", "--results", tmp_path / "two", "--backend", "host", ranks=2)
    of_one, of_two = (
        {
            path.relative_to(tmp_path / name): store.digest_of(path)
            for part in ("rich", "tangents")
            for path in (tmp_path / name / "tiny" / part).glob("*.h5")
        }
        for name in ("one", "two")
    )
    assert of_one == of_two
    assert sorted(path.parts[1] for path in of_one) == ["rich", "rich", "tangents"]
    shards = [len(list((tmp_path / name / "tiny" / "shards").glob("*/*.h5"))) for name in ("one", "two")]
    assert shards[0] > 2 * shards[1]
