"""Steps of one process, such as limit, rates and report: no rank of MPI, which is not even imported."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rnnlimits import experiments
from rnnlimits.base import memory, progress
from rnnlimits.base.locks import exclusive
from rnnlimits.kernels import processor
from rnnlimits.plan import due
from rnnlimits.plan.parts import Experiment, Step
from rnnlimits.run.order import Order, checked


def serial(order: Order) -> None:
    """Run the steps that are named, in the order of the study: that of the stage, or the parts of `steps`.

    Raises StudyError for a step that the study does not have, and what the steps raise.
    """
    experiment = experiments.of(checked(order.study), order.results)
    memory.collect_rarely()
    for step in chosen(experiment, order.parts if order.stage == "steps" else (order.stage,)):
        run_step(experiment, step, order)


def chosen(experiment: Experiment, names: Sequence[str]) -> list[Step]:
    """The steps of these names. Raises StudyError for one that the study does not have."""
    steps = experiment.steps()
    if missing := set(names) - {step.name for step in steps}:
        raise experiments.has_no(experiment.study, f"stage {min(missing)}")
    return [step for step in steps if step.name in names]


def run_step(experiment: Experiment, step: Step, order: Order) -> None:
    """Run one step under its lock. Raises StudyError if it would read a file of another study."""
    with exclusive(experiment.layout.locks, step.name):
        due.require_inputs(experiment, step)
        backend = experiment.study.backend_for(order.backend, order.say)
        started = time.monotonic()
        step.run(lambda: processor(backend))
        if not sys.stderr.isatty():  # logs, in which otherwise nothing would show that one step follows another
            order.say(f"{step.name}: done in {progress.readable_time(time.monotonic() - started)}")
