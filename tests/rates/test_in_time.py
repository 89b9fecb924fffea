"""Rates at earlier checkpoints, against the same study that ends there; and of the largest value over all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from predicted_cases import STUDY

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.quantities.suprema import is_supremum
from rnnlimits.ranks import parallel
from rnnlimits.rates import stage
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.training import limit

pytestmark = [pytest.mark.needs_compiler, pytest.mark.needs_mpi]
Key = tuple[str, str, str]
# The noise of the units is taken out of these in another way at earlier times: the same numbers within their errors.
LESS_NOISE = {(f"{name}_bias", "less unit noise") for name in ("output", "memory")} | {
    ("output_beyond_rich", "rich twin")
}
FEWER = STUDY.replace("replicas: 256, replicas_per_block: 256", "replicas: 64, replicas_per_block: 64")


def run(folder: Path, end: float, checkpoints: list[float]) -> Path:
    """The file of rates of the study that is trained up to `end`."""
    text = FEWER.replace("horizon: 1.0", f"horizon: {end}").replace("checkpoints: [1.0]", f"checkpoints: {checkpoints}")
    study = studies.loads(text, folder / "predicted.yaml")
    experiment, be = experiments.of(study, folder), kernels.backend("host")
    for part in experiment.parts():
        part.run(parallel.world(), be)
    limit.run(study, experiment.layout, be)
    stage.run(study, experiment.layout, be)
    return Path(experiment.layout.rates_h5)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("longer"), 2.0, [0.0, 0.5, 1.0, 2.0])


@pytest.fixture(scope="module")
def shorter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("shorter"), 1.0, [0.0, 1.0])


def by_key(rates: list[Rate]) -> dict[Key, Rate]:
    return {(rate.quantity, rate.estimator, rate.at): rate for rate in rates if not is_supremum(rate)}


def test_rows_at_a_checkpoint_are_those_of_the_study_that_ends_there(longer: Path, shorter: Path) -> None:
    """The first half of a path does not know of the second: the same networks, measured and predicted."""
    ended = by_key(ratefile.read(shorter))
    earlier = by_key([rate for rate in ratefile.read_in_time(longer) if rate.time == 1.0])
    both = ended.keys() & earlier.keys()
    assert {key[:2] for key in both} >= {
        *(("output_rms", "plain"), ("output_fluctuation", "half-difference"), ("output_bias", "less unit noise")),
        *(("memory_rms", "plain"), ("memory_bias", "less unit noise"), ("drift_rms", "plain"), ("drift_b", "plain")),
    }
    told = 0
    for key in sorted(both):
        one, other = ended[key], earlier[key]
        assert [p.variable for p in one.cloud] == [p.variable for p in other.cloud]
        if key[:2] not in LESS_NOISE:
            found, wanted = ([point.estimate for point in rate.cloud] for rate in (other, one))
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-12, err_msg=str(key))
        else:
            for p, q in zip(one.cloud, other.cloud, strict=True):
                assert abs(p.estimate - q.estimate) < 2 * np.hypot(p.stderr, q.stderr), key
        foreseen = [(p.predicted, q.predicted) for p, q in zip(one.cloud, other.cloud, strict=True)]
        for first, second in foreseen:
            if first > 0 and second > 0:
                told += 1
                assert second == pytest.approx(first, rel=1e-3), key
    assert told > 30


def test_rows_in_time_are_not_judged_and_suprema_are(longer: Path) -> None:
    rates, earlier = ratefile.read(longer), ratefile.read_in_time(longer)
    assert {rate.time for rate in earlier} == {0.0, 0.5, 1.0}
    assert not {"verdict", "p_adjusted"} & {*ratefile.COLUMNS_IN_TIME}
    assert {rate.verdict for rate in earlier} <= {"cannot tell", "no prediction"}
    suprema = [rate for rate in rates if is_supremum(rate)]
    assert len(suprema) > 3
    assert all(rate.verdict for rate in suprema)
    assert "not as predicted" not in {rate.verdict for rate in suprema}


def test_a_supremum_is_the_largest_of_its_rows(longer: Path) -> None:
    """Where one checkpoint stands out, it is that estimate; elsewhere it is at most a standard error below."""
    rates, earlier = ratefile.read(longer), ratefile.read_in_time(longer)
    for one in (rate for rate in rates if is_supremum(rate)):
        base = one.quantity.removesuffix("_sup_t")
        same = [r for r in (*rates, *earlier) if r.quantity == base and r.at == one.at and not is_supremum(r)]
        for point in one.cloud:
            largest = max(p.estimate for r in same for p in r.cloud if p.variable == point.variable)
            assert largest - 2 * point.stderr <= point.estimate <= largest * (1 + 1e-9), (one.quantity, point.variable)
