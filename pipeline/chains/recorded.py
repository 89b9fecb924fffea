"""The kind `recorded`: a series from a file, read circularly. Source: docs/model.md, eq. (5)."""

from __future__ import annotations

from pathlib import Path as File
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rnnlimits.base import ownfiles
from rnnlimits.base.fields import Array, Count, Name, Switch, refusal
from rnnlimits.base.streams import Stream
from rnnlimits.chains.base import SAMPLES, UNSAVED, Chain, Stretch, Verdict, register
from rnnlimits.chains.targets import Target
from rnnlimits.kernels.interface import Backend, Replicas

if TYPE_CHECKING:
    from rnnlimits.chains.series import Series


@register
class Recorded(Chain):
    """A recorded series, read circularly; Y_k is the target column `lead` rows later."""

    exact: ClassVar[bool] = True
    noisy: ClassVar[bool] = False
    reads_file: ClassVar[bool] = True
    own_target: ClassVar[str] = "chain.target_column and chain.lead define it"
    equation: ClassVar[str] = (
        "a series from a file, read circularly from a random offset; its law is the empirical one, and $Y_k$ is a"
        " column `lead` steps ahead"
    )
    tag: ClassVar[str] = "(5)"

    kind: Literal["recorded"]
    file: Name = Field(description="CSV with a header row, HDF5 or netCDF; a path relative to the study file")
    columns: tuple[Name, ...] = Field(min_length=1, description="Columns that the network sees")
    standardize: Switch = Field(default=True, description="Take off each column's mean, divide by its s.d.")
    lead: Count = Field(default=1, description="How many rows ahead the target is")
    target_column: Name | None = Field(default=None, description="Column to predict; default: the first of columns")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for index, column in enumerate(self.columns):
            if column in self.columns[:index]:
                raise refusal(f"columns[{index}]", column, "allowed: each column once")
        return self

    @property
    def dimension(self) -> int:
        """Number of components of X."""
        return len(self.columns)

    @property
    def hidden(self) -> int:
        """A recorded series has no hidden part."""
        return 0

    @property
    def target(self) -> str:
        """Name of the column to predict."""
        return self.columns[0] if self.target_column is None else self.target_column

    def place(self, source: File = UNSAVED) -> File:
        """The path of the series, which the study gives relative to its own file."""
        return source.parent / self.file

    def series(self, source: File = UNSAVED) -> Series:
        """See Chain.series."""
        from rnnlimits.chains.series import load_series  # h5py takes time to import, and few studies need it here

        return load_series(self, source)

    def process(self, target: Target | None, source: File = UNSAVED) -> RecordedProcess:
        """See Chain.process; the target comes from the series."""
        return RecordedProcess(self.series(source))

    def contraction(self, source: File = UNSAVED) -> Verdict:
        """Always holds: the law is that of a random row. Raises StudyError for a series that cannot be used."""
        rows = len(self.series(source).x)
        return Verdict(True, f"{self.place(source)}: {rows} rows of {', '.join(self.columns)}")

    def sample_inputs(self, source: File = UNSAVED) -> Array:
        """Rows of the series, evenly spaced."""
        x = self.series(source).x
        return x[:: max(1, len(x) // SAMPLES)]

    def findings(self, source: File = UNSAVED) -> list[str]:
        """Columns, values and times of the series as they were read."""
        from rnnlimits.chains.described import findings

        return findings(self, source)

    def identity(self, source: File = UNSAVED) -> dict[str, Any]:
        """The digest of its values: the same series has the same identity wherever its file lies."""
        return {"kind": self.kind, "digest": self.series(source).digest}

    def moved(self, old: File, new: File) -> Recorded:
        """See Chain.moved: the series stays where it is."""
        return self.model_copy(update={"file": ownfiles.moved(self.file, old, new)})


class RecordedProcess:
    """See Process. Each replica starts at a random row, so that mu is the empirical law of the series."""

    def __init__(self, series: Series) -> None:
        self.dimension, self.hidden, self.series = series.x.shape[1], 0, series

    def paths(
        self, be: Backend, seed: int, stream: Stream, replicas: Replicas, start: NDArray[np.generic] | None = None
    ) -> RecordedPath:
        """See Process.paths."""
        if start is None:
            u = be.numpy(be.uniforms(seed, Stream(stream + 1), replicas, 1))[:, 0]
            start = np.floor(u * len(self.series.y))
        return RecordedPath(self, be, np.array(start, dtype=np.int64))

    def shown(self, state: NDArray[np.generic]) -> Stretch:
        """See Process.shown."""
        rows = np.asarray(state, dtype=np.int64)
        return self.series.x[rows], np.empty((len(rows), 0)), self.series.y[rows]


class RecordedPath:
    """See Path."""

    def __init__(self, process: RecordedProcess, be: Backend, row: NDArray[np.int64]) -> None:
        self._x, self._y = be.array(process.series.x), be.array(process.series.y)
        self._be, self.state, self.step = be, be.array(row), 0

    def take(self, steps: int) -> Stretch:
        """See Path.take."""
        rows = (self.state[:, None] + self._be.array(np.arange(steps))) % len(self._y)
        self.state = (self.state + steps) % len(self._y)
        self.step += steps
        return self._x[rows], self._be.array(np.empty((*rows.shape, 0))), self._y[rows]
