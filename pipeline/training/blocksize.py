"""Which training.replicas_per_block a study should have: every block is a shard, which costs as much as many steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rnnlimits.plan.forecast import Forecast, ranged
from rnnlimits.study import Study
from rnnlimits.training import parts, plan

MOST_MEGABYTES = 256  # of the networks of a block, which one rank holds at a time
LEAST_SHARE, LEAST_SECONDS = 0.1, 5.0  # of the time on the clock that is worth an advice
ENOUGH = 1.02  # times the least time: of such sizes the smallest, as a kill loses less


def larger(study: Study) -> Iterator[Study]:
    """The study with two, four ... times as many replicas in a block, as long as its other keys allow it.

    None where the study does not name their number: then `plan.block_size` has chosen it.
    """
    if study.training.replicas_per_block is None:
        return
    size = 2 * study.training.replicas_per_block
    while _allows(study, size):
        yield study.model_copy(update={"training": study.training.model_copy(update={"replicas_per_block": size})})
        size *= 2


def _allows(study: Study, size: int) -> bool:
    """Whether a study may have blocks of this size: every number of replicas, or paths, is a multiple."""
    paths = size // 2 if study.training.antithetic else size
    counts = [count for product in study.training.products() for count in product.replicas]
    alone = [study.twin.paths] * bool(study.twin.steps_per_time) + [study.rich.paths] * bool(study.rich.epsilon)
    if any(count % size for count in counts) or any(count % paths for count in alone):
        return False
    resized = study.model_copy(update={"training": study.training.model_copy(update={"replicas_per_block": size})})
    return max(parts.state_megabytes(resized, cell) for cell in plan.cells(study)) <= MOST_MEGABYTES


def advice(now: Forecast, others: Mapping[int, Forecast]) -> list[str]:
    """A line that names a better size, if there is one; others: what a run takes with other sizes."""
    least = min((other.clock for other in others.values()), default=now.clock)
    if now.clock - least < max(LEAST_SECONDS, LEAST_SHARE * now.clock):
        return []
    size = min(size for size, other in others.items() if other.clock <= ENOUGH * least)
    before, after = (one.of("shards").count for one in (now, others[size]))
    return [
        f"advice: training.replicas_per_block: {size} makes {after:,} shards in place of {before:,}, and a run of "
        f"{ranged(others[size].clock)}"
    ]
