"""What study files of every kind have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from rnnlimits.base import ownfiles
from rnnlimits.base.fields import Allowed, Section, refusal
from rnnlimits.base.ownfiles import OwnFile

_File = Annotated[str, Field(strict=True, min_length=1)]
OwnFiles = Annotated[
    _File | Annotated[tuple[_File, ...], Field()],
    Allowed("the name of a Python file, or a list of them, relative to the study file"),
]
QUANTITIES = "Python files of your own that register quantities; paths relative to the study file"


class AnyStudy(Section):
    """A study file of any kind. Each kind is a subclass, which `model.EXPERIMENTS` lists by its key `experiment`."""

    if TYPE_CHECKING:  # each kind has these fields, in its own order and with its own defaults
        name: str
        seed: int
        precision: str
        experiment: str
        quantities: str | tuple[str, ...]

    _source: Path = PrivateAttr(default=Path("study"))

    @property
    def source(self) -> Path:
        """The file that the study was read from; paths in it are relative to that file's folder."""
        return self._source

    @model_validator(mode="after")
    def _each_file_once(self) -> Self:
        names = self.quantity_files
        for index, name in enumerate(names):
            if name in names[:index]:
                raise refusal(f"quantities[{index}]", name, "allowed: each file once")
        return self

    @property
    def quantity_files(self) -> tuple[str, ...]:
        """The names in `quantities`; a kind of study may be without that key."""
        names: str | tuple[str, ...] = getattr(self, "quantities", ())
        return (names,) if isinstance(names, str) else names

    @property
    def own_quantities(self) -> tuple[OwnFile, ...]:
        """The files in `quantities`, as they were when the study first needed them.

        Raises StudyError if one cannot be read.
        """
        # Kept with the study, so that its identity is that of the code that runs, on every rank.
        kept = self.__dict__.get("_own_quantities")
        if kept is None:
            folder = self.source.parent
            kept = tuple(ownfiles.read(folder / name, "quantities") for name in self.quantity_files)
            self.__dict__["_own_quantities"] = kept
        files: tuple[OwnFile, ...] = kept
        return files

    @property
    def own_digests(self) -> dict[str, Any]:
        """What the files in `quantities` add to the identity of the study; nothing without such files."""
        return {"quantities": [file.digest for file in self.own_quantities]} if self.quantity_files else {}

    @property
    def names_files(self) -> bool:
        """Whether the identity depends on files that the study only names."""
        return bool(self.quantity_files)

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of what changes any result of the study."""
        raise NotImplementedError

    def backend_for(self, name: str, say: Callable[[str], None] = lambda _: None) -> str:
        """The back end that `name` means for this study; `say` gets a line if the study decides it.

        Raises StudyError for one that cannot compute the study.
        """
        return name

    def prepare(self) -> None:
        """Make what the study brings along known in this process. Raises StudyError for code that is refused."""

    def values(self, folder: Path | None = None) -> dict[str, Any]:
        """Every key with its value, defaults included, in the types that YAML has.

        folder: where they will be written, if not next to the study's own file; relative paths are then relative to it.
        """
        study = self if folder is None else self.moved(folder)
        return study.model_dump(mode="json", exclude_none=True)

    def moved(self, folder: Path) -> Self:
        """The same study for a file in `folder`: relative paths are relative to it."""
        names = tuple(ownfiles.moved(name, self.source.parent, folder) for name in self.quantity_files)
        return self.model_copy(update={"quantities": names}) if names else self
