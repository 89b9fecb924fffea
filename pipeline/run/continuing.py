"""Whether a study continues with the back end that has begun it."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.files import audit
from rnnlimits.files.checks import attribute_of
from rnnlimits.files.snapshot import glanced
from rnnlimits.plan.parts import Experiment, Part


def require_same_backend(experiment: Experiment, name: str) -> None:
    """Refuse a back end that was chosen by the machine, not by the user, if the study was begun with another.

    name: what "auto" means here. One shard of each part is looked at. Raises StudyError.
    """
    parts = experiment.parts()
    if all(block.path.exists() for part in parts for block in part.blocks):
        return
    for part in parts:
        path, begun = _first(part)
        if begun not in (None, name):
            raise StudyError(
                f"{path}: was computed by back end {begun}, and auto means {name} here, whose last digits differ; "
                f"give --backend {begun} to continue as before, or --backend {name} to mix both"
            )


def _first(part: Part) -> tuple[Path | None, str | None]:
    """The first shard of a part that says who computed it, and its back end."""
    for block in part.blocks:
        try:
            with glanced(block.path) as shard:
                if (begun := attribute_of(shard, "backend")) is not None:
                    return block.path, str(begun)
        except (audit.Unsafe, *audit.DAMAGE):  # missing, or damaged: the stage says so
            continue
    return None, None
