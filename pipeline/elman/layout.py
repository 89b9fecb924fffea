"""Every path below results/STUDY that only a study of the recurrent NTK has."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.elman.plan import Block, Cell
from rnnlimits.plan.layout import StudyFolder


class RntkLayout(StudyFolder):
    """The folder of a study of the recurrent NTK."""

    def cell_shards(self, cell: Cell, cell_id: str) -> Path:
        """The shards of one cell; another seed, for example, has another folder, so that nothing is overwritten."""
        return self.shards / f"{cell.pack}_{cell.network}_{cell_id}"

    def block_shard(self, block: Block, cell_id: str) -> Path:
        """The shard of one block of replicas."""
        return self.cell_shards(block.cell, cell_id) / f"{block.name}.h5"

    def networks(self, cell: Cell) -> Path:
        """The ensemble of one cell: a virtual dataset over its shards."""
        return self.root / cell.kind / f"n{cell.width:05d}" / f"{cell.network}.h5"

    @property
    def kernels(self) -> Path:
        """The sequences, targets, and the limit's kernels between them."""
        return self.root / "kernels.h5"

    @property
    def weights_csv(self) -> Path:
        """Weight of time steps in the limit's kernels."""
        return self.root / "weights.csv"
