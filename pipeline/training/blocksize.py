"""Which training.replicas_per_block a study should have: every block is a shard, which costs as much as many steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rnnlimits.plan.forecast import Forecast, ranged
from rnnlimits.study import Study
from rnnlimits.study.training import Ladder, Training
from rnnlimits.training import parts, plan

MOST_MEGABYTES = 256  # of the networks of a block, which one rank holds at a time
LEAST_SHARE, LEAST_SECONDS = 0.1, 5.0  # of the time on the clock that is worth an advice
ENOUGH = 1.02  # times the least time: of such sizes the smallest, as a kill loses less


def larger(study: Study) -> Iterator[Study]:
    """The study with two, four ... times as many replicas in a block, as long as its other keys allow it.

    Numbers of replicas of the main product are rounded up to whole blocks. None where the study does not name their
    number: then `plan.block_size` has chosen it.
    """
    if study.training.replicas_per_block is None:
        return
    main, size = study.training.products()[0], 2 * study.training.replicas_per_block
    while size <= max(main.replicas) and _allows(study, size):
        update = {"replicas_per_block": size, "replicas": tuple(-(-count // size) * size for count in main.replicas)}
        update["ladders"] = with_own_replicas(study.training)
        yield study.model_copy(update={"training": study.training.model_copy(update=update)})
        size *= 2


def _allows(study: Study, size: int) -> bool:
    """Whether a study may have blocks of this size: other numbers of replicas, or of paths, are multiples of it."""
    paths = size // 2 if study.training.antithetic else size
    counts = [count for product in study.training.products()[1:] for count in product.replicas]
    alone = [study.twin.paths] * bool(study.twin.steps_per_time) + [study.rich.paths] * bool(study.rich.epsilon)
    if any(count % size for count in counts) or any(count % paths for count in alone):
        return False
    resized = study.model_copy(update={"training": study.training.model_copy(update={"replicas_per_block": size})})
    return max(parts.state_megabytes(resized, cell) for cell in plan.cells(study)) <= MOST_MEGABYTES


def with_own_replicas(training: Training) -> tuple[Ladder, ...]:
    """The ladders with the replicas that they have, also where these are those of the main product."""
    return tuple(
        ladder.model_copy(update={"replicas": product.replicas})
        for ladder, product in zip(training.ladders, training.products()[1:], strict=True)
    )


def advice(study: Study, now: Forecast, others: Mapping[int, tuple[Study, Forecast]]) -> list[str]:
    """A line that names a better size, if there is one.

    now: what is left of a run of the study; others: by size, the study with such blocks and what a run of it takes.
    """
    least = min((other.clock for _, other in others.values()), default=now.clock)
    if now.clock - least < max(LEAST_SECONDS, LEAST_SHARE * now.clock):
        return []
    size = min(size for size, (_, other) in others.items() if other.clock <= ENOUGH * least)
    better, other = others[size]
    replicas = better.training.products()[0].replicas
    changed = "" if replicas == study.training.products()[0].replicas else f" with replicas: {list(replicas)}"
    before, after = (one.of("shards").count for one in (now, other))
    return [
        f"advice: training.replicas_per_block: {size}{changed} makes {after:,} shards in place of {before:,}, and a "
        f"run of {ranged(other.clock)}"
    ]
