"""Every path below results/STUDY. Nothing else in the project builds such a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rnnlimits.study import AnyStudy
from rnnlimits.training.plan import Block, Cell, Twin, TwinBlock

STATES = "checkpoints"  # the folder of saved states


@dataclass(frozen=True)
class Layout:
    """The folder of one study's results; shards lie in folders named by the identity of what they hold."""

    root: Path

    @classmethod
    def of(cls, study: AnyStudy, results: Path = Path("results")) -> Self:
        """The layout of a study below `results`."""
        return cls(results / study.name)

    @property
    def shards(self) -> Path:
        """All shards, of trainings and of draws."""
        return self.root / "shards"

    def shard_folder(self, cell: Cell, cell_id: str) -> Path:
        """The shards of one cell; another seed, say, is another folder, and nothing is overwritten."""
        return self.shards / f"{cell.pack}_{cell.name}_{cell_id}"

    def shard(self, block: Block, cell_id: str) -> Path:
        """The shard of one block of replicas."""
        return self.shard_folder(block.cell, cell_id) / f"{block.name}.h5"

    def pack(self, name: str) -> Path:
        """The ensembles of one pack."""
        return self.root / "train" / name

    def ensemble(self, cell: Cell) -> Path:
        """The ensemble of one cell: a virtual dataset over its shards."""
        return self.pack(cell.pack) / f"{cell.name}.h5"

    def twin_folder(self, twin: Twin, twin_id: str) -> Path:
        """The shards of the twins of one K."""
        return self.shards / f"twin-K{twin.steps_per_time:05d}_{twin_id}"

    def twin_shard(self, block: TwinBlock, twin_id: str) -> Path:
        """The shard of one block of twins."""
        return self.twin_folder(block.twin, twin_id) / f"{block.name}.h5"

    def twin(self, twin: Twin) -> Path:
        """The ensemble of the twins of one K."""
        return self.root / "twin" / f"K{twin.steps_per_time:05d}.h5"

    @property
    def states(self) -> Path:
        """Saved states of blocks under way, in folders as the shards'."""
        return self.root / STATES

    def state_folder(self, cell: Cell, cell_id: str) -> Path:
        """The saved states of one cell."""
        return self.states / self.shard_folder(cell, cell_id).name

    def state(self, block: Block, cell_id: str) -> Path:
        """The saved state of one block of replicas: gone once its shard is there."""
        return self.state_folder(block.cell, cell_id) / f"{block.name}.h5"

    def twin_state_folder(self, twin: Twin, twin_id: str) -> Path:
        """The saved states of the twins of one K."""
        return self.states / self.twin_folder(twin, twin_id).name

    def twin_state(self, block: TwinBlock, twin_id: str) -> Path:
        """The saved state of one block of twins."""
        return self.twin_state_folder(block.twin, twin_id) / f"{block.name}.h5"

    def draw_folder(self, draw_id: str) -> Path:
        """The shards of the draw stage."""
        return self.shards / f"draw_{draw_id}"

    def draw_shard(self, index: int, draw_id: str) -> Path:
        """The shard of one block of draws."""
        return self.draw_folder(draw_id) / f"block-{index:04d}.h5"

    @property
    def draw(self) -> Path:
        """The merged draws."""
        return self.root / "draw.h5"

    @property
    def limit(self) -> Path:
        """The limit: outputs, memory, eigenvalues, their errors."""
        return self.root / "limit.h5"

    @property
    def poisson(self) -> Path:
        """Long-run variances and mixing."""
        return self.root / "poisson.h5"

    @property
    def memory_csv(self) -> Path:
        """Convergence of the memory in hidden updates and hidden units."""
        return self.root / "memory.csv"

    @property
    def rates_h5(self) -> Path:
        """The rates and every point behind them."""
        return self.root / "rates.h5"

    @property
    def rates_csv(self) -> Path:
        """The rates as a table."""
        return self.root / "rates.csv"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.root / "figures"

    def figure(self, name: str, suffix: str) -> Path:
        """One figure; suffix svg or png."""
        return self.figures / f"{name}.{suffix}"

    @property
    def report(self) -> Path:
        """The page that shows all of it."""
        return self.root / "report.html"

    @property
    def study_yaml(self) -> Path:
        """The study with every default written out."""
        return self.root / "study.yaml"

    @property
    def logs(self) -> Path:
        """The folder of logs."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        """The folder of locks."""
        return self.root / ".locks"
