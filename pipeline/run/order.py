"""What the command line asks of the stages, and the study that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlimits import experiments
from rnnlimits.study import AnyStudy, load_any

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """A request of the command line; `say` prints a line for the user, on one rank only.

    parts: names of the parts of `work`, or of the steps of `steps`.
    """

    stage: str
    study: Path
    results: Path
    backend: str
    say: Say
    pack: str | None = None
    steps: int | None = None
    log: Path | None = None
    parts: Sequence[str] = ()


def checked(path: Path) -> AnyStudy:
    """The study of a file. Raises StudyError or KernelError for one that fails its checks."""
    study = load_any(path)
    experiments.check(study)
    return study
