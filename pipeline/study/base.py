"""What study files of every kind have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from rnnlimits.base.fields import Section


class AnyStudy(Section):
    """A study file of any kind. Each kind is a subclass, which `model.EXPERIMENTS` lists by its key `experiment`."""

    if TYPE_CHECKING:  # each kind has these fields, in its own order and with its own defaults
        name: str
        seed: int
        precision: str
        experiment: str

    _source: Path = PrivateAttr(default=Path("study"))

    @property
    def source(self) -> Path:
        """The file that the study was read from; paths in it are relative to that file's folder."""
        return self._source

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of what changes any result of the study."""
        raise NotImplementedError

    def values(self, folder: Path | None = None) -> dict[str, Any]:
        """Every key with its value, defaults included, in the types that YAML has.

        folder: where they will be written, if not next to the study's own file; relative paths are then relative to it.
        """
        return self.model_dump(mode="json", exclude_none=True)
