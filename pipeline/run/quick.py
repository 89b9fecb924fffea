"""A study of seconds in one process: without Snakemake, ranks, figures and report, and with the same results."""

from __future__ import annotations

from dataclasses import replace

from rnnlimits import experiments
from rnnlimits.base.errors import StudyError
from rnnlimits.base.locks import exclusive
from rnnlimits.base.progress import readable_time
from rnnlimits.experiments.base import PER_SECOND
from rnnlimits.kernels import require_known
from rnnlimits.plan import due
from rnnlimits.plan.due import Due
from rnnlimits.plan.files import FIGURES, REPORT
from rnnlimits.plan.parts import Experiment, Part
from rnnlimits.run import stages, workflow
from rnnlimits.run.order import Order
from rnnlimits.run.serial import chosen, run_step
from rnnlimits.study import load_any

MOST_SECONDS = 60.0  # that the parts may take on a core; an ordinary run starts in ten
UNIT_STEP = {"float32": 1e-9, "float64": 2e-9}  # seconds of a core for a unit-step, roughly


def run(order: Order) -> None:
    """Run what is due of a study in this process, a rank of its own; figures and report are left to an ordinary run.

    Raises StudyError for a study that is refused or takes too long, and what stages raise.
    """
    require_known(order.backend)
    study = load_any(order.study)
    experiment = experiments.of(study, order.results)
    experiment.checks()
    with exclusive(experiment.layout.locks, "run"):
        found = due.due(experiment)
        require_short(experiment, found)
        workflow.require_backend(experiment, study.backend_for(order.backend, order.say))
        workflow.announce(experiment)
        workflow.write_copy(experiment)
        if found.parts:
            log = experiment.layout.logs / "parts.log"
            stages.distributed(replace(order, stage="work", parts=found.parts, log=log))
        for step in chosen(experiment, found.steps):
            if any(output.kind not in (FIGURES, REPORT) for output in step.outputs):
                run_step(experiment, step, order)


def require_short(experiment: Experiment, found: Due) -> None:
    """Raises StudyError if the blocks that have no shard yet would take longer than MOST_SECONDS on one core."""
    parts = [part for part in experiment.parts() if part.name in found.parts]
    seconds = sum(map(_seconds, parts))
    if seconds > MOST_SECONDS:
        raise StudyError(
            f"{experiment.study.source}: would take about {readable_time(seconds)} of one core; --quick takes at most "
            f"{readable_time(MOST_SECONDS)}: leave it out, and all cores share the work"
        )


def _seconds(part: Part) -> float:
    each = UNIT_STEP[part.precision] if part.operation == "unit-steps" else 1 / PER_SECOND
    return each * sum(block.operations for block in part.blocks if not block.path.exists())
