"""Every path below results/STUDY that only a study of trainings has. No other module builds such a path."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.plan.layout import StudyFolder
from rnnlimits.training.plan import Block, Cell, RichBlock, RichTwin, Twin, TwinBlock


class Layout(StudyFolder):
    """The folder of a study of trainings."""

    def shard_folder(self, cell: Cell, cell_id: str) -> Path:
        """The shards of one cell; another seed, for example, has another folder, so that nothing is overwritten."""
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

    def rich(self, twin: RichTwin) -> Path:
        """The ensemble of a rich twin on all its paths."""
        return self.root / "rich" / f"{twin.name}.h5"

    def rich_shard(self, block: RichBlock, rich_id: str) -> Path:
        """The shard of one block of rich twins."""
        return self.shards / f"rich-{block.twin.name}_{rich_id}" / f"{block.name}.h5"

    def rich_state(self, block: RichBlock, rich_id: str) -> Path:
        """The saved state of one block of rich twins."""
        return self.states / self.rich_shard(block, rich_id).parent.name / f"{block.name}.h5"

    def tangents(self, twin: RichTwin) -> Path:
        """The ensemble of the tangents of a rich twin, on the first of its paths."""
        return self.root / "tangents" / f"{twin.name}.h5"

    def tangents_shard(self, block: RichBlock, tangents_id: str) -> Path:
        """The shard of one block of tangents."""
        return self.shards / f"tangents-{block.twin.name}_{tangents_id}" / f"{block.name}.h5"

    def state_folder(self, cell: Cell, cell_id: str) -> Path:
        """The saved states of one cell."""
        return self.states / self.shard_folder(cell, cell_id).name

    def state(self, block: Block, cell_id: str) -> Path:
        """The saved state of one block of replicas, deleted once its shard exists."""
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
