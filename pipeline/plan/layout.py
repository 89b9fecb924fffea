"""What every results folder has, whatever the kind of study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rnnlimits.study import AnyStudy

STATES = "checkpoints"  # the folder of saved states


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study's results. Shards lie in folders whose names contain the identity of their contents."""

    root: Path

    @classmethod
    def of(cls, study: AnyStudy, results: Path = Path("results")) -> Self:
        """The layout of a study below `results`."""
        return cls(results / study.name)

    @property
    def shards(self) -> Path:
        """All shards, of trainings and of draws."""
        return self.root / "shards"

    @property
    def states(self) -> Path:
        """Saved states of unfinished blocks, in folders like those of the shards."""
        return self.root / STATES

    @property
    def rates_h5(self) -> Path:
        """The rates and every point behind them."""
        return self.root / "rates.h5"

    @property
    def rates_csv(self) -> Path:
        """The rates as a table."""
        return self.root / "rates.csv"

    @property
    def rates_in_time_csv(self) -> Path:
        """The rates at the other checkpoints, as a table."""
        return self.root / "rates_in_time.csv"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.root / "figures"

    def figure(self, name: str, suffix: str) -> Path:
        """The path of one figure; suffix: svg or png."""
        return self.figures / f"{name}.{suffix}"

    @property
    def report(self) -> Path:
        """The page that shows all results."""
        return self.root / "report.html"

    @property
    def study_yaml(self) -> Path:
        """The study with every default written out."""
        return self.root / "study.yaml"

    @property
    def resolved_yaml(self) -> Path:
        """The study with the replicas that `run --resolve` has chosen."""
        return self.root / "resolved.yaml"

    @property
    def logs(self) -> Path:
        """The folder of logs."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        """The folder of locks."""
        return self.root / ".locks"
