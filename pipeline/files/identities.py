"""The identities that a file carries: which study it is from, read without reading its values.

HDF5 has them as root attributes, CSV in columns whose name ends in `_id`, all other files in a mark near their
beginning: `rnnlimits study_id=...;`, in a comment or in metadata that other software ignores.
"""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from rnnlimits.base.errors import StudyError
from rnnlimits.files import audit
from rnnlimits.files.checks import FORMAT, FORMAT_VERSION, attribute_of
from rnnlimits.files.seal import digest_in, is_sealed
from rnnlimits.files.shards import SEAL
from rnnlimits.files.snapshot import glanced, tail

HDF5, CSV, MARKED = (".h5",), (".csv",), (".html", ".png", ".svg", ".yaml")  # by the end of the name
MARK = "rnnlimits"
NEAR = 8192  # bytes from the beginning within which a mark stands
_MARK = re.compile(rf"{MARK}((?: [a-z_]+=[\w.,:-]*)+);", re.ASCII)  # ended: in a PNG other bytes follow at once


@dataclass(frozen=True)
class Carried:
    """What a file says of itself.

    names: its identities by name, and `kind` and `study`; rows: number of joined rows of an ensemble, else None; lost:
    a shard of an ensemble that does not exist; exchanged: one that is not the one that was joined; damage: a clause on
    why the file cannot be read, "" if it can.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    lost: Path | None = None
    exchanged: Path | None = None
    damage: str = ""

    @property
    def identities(self) -> dict[str, str]:
        """The identities among the names."""
        return {name: value for name, value in self.names.items() if name.endswith("_id")}


def can_carry(path: Path) -> bool:
    """Whether files with such a name carry identities."""
    return path.suffix in (*HDF5, *CSV, *MARKED)


def mark(**names: str) -> str:
    """The mark with these names, to be written within the first NEAR bytes of a file."""
    return " ".join([MARK, *(f"{name}={value}" for name, value in names.items())]) + ";"


def carried(path: Path) -> Carried:
    """What a file carries; names are empty if it carries nothing. Raises OSError for a file that cannot be opened."""
    if not stat.S_ISREG(path.stat().st_mode):
        return Carried(damage="is not a file")
    if path.suffix in HDF5:
        return _of_hdf5(path)
    if path.suffix in CSV:
        try:
            return Carried(_of_csv(path))
        except csv.Error as error:
            return Carried(damage=f"is not a table ({error})")
    with path.open("rb") as file:
        found = _MARK.search(file.read(NEAR).decode("latin-1"))
    pairs = (word.partition("=") for word in found[1].split()) if found else ()
    return Carried({name: value for name, _, value in pairs})


def _of_csv(path: Path) -> dict[str, str]:
    """The columns that have one value in all rows."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    columns = {name: {row[i] for row in rows if i < len(row)} for i, name in enumerate(header)}
    return {name: values.pop() for name, values in columns.items() if len(values) == 1}


def _of_hdf5(path: Path) -> Carried:
    """The root attributes, and whether all shards of an ensemble exist."""
    incomplete = Carried(damage="is not complete, or of another format version")
    try:
        if not is_sealed(tail(path)):
            return incomplete
        with glanced(path) as file:
            own = (attribute_of(file, "format"), attribute_of(file, "format_version"), attribute_of(file, "complete"))
            if own != (FORMAT, FORMAT_VERSION, 1):
                return incomplete
            shards = _shards(path, file)
            lost = _lost(shards)
            return Carried(_names(file), _rows(file), lost, None if lost else _exchanged(file, shards))
    except (audit.Unsafe, *audit.DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:  # it is not there, or may not be read
            raise
        return Carried(damage="is damaged")


def _names(file: h5py.File) -> dict[str, str]:
    wanted = [name for name in file.attrs if name.endswith("_id") or name in ("kind", "study")]
    return {name: str(attribute_of(file, name)) for name in wanted}


def _rows(file: h5py.File) -> int | None:
    joined = attribute_of(file, "joined_along")
    return None if joined is None else len(file[str(joined)])


def _shards(path: Path, file: h5py.File) -> list[Path]:
    """The shards that the virtual datasets need, in order."""
    virtual = (item for item in file.values() if isinstance(item, h5py.Dataset) and item.is_virtual)
    return next((sources(path, dataset) for dataset in virtual), [])


def _lost(shards: Sequence[Path]) -> Path | None:
    """A shard that does not exist."""
    there = {folder: _listed(folder) for folder in {shard.parent for shard in shards}}
    return next((shard for shard in shards if shard.name not in there[shard.parent]), None)


def _exchanged(file: h5py.File, shards: Sequence[Path]) -> Path | None:
    """A shard that does not end as the one that was joined did."""
    if SEAL not in file:  # an ensemble of an older version
        return None
    seals = file[SEAL].asstr()[()].tolist()
    pairs = zip(shards, seals, strict=False)
    return next((shard for shard, seal in pairs if _seal(shard) != seal), None)


def _seal(shard: Path) -> str:
    try:
        return digest_in(tail(shard))
    except (OSError, StudyError):
        return ""


def _listed(folder: Path) -> frozenset[str]:
    """The names in a folder: one listing is faster than a look at each of thousands of shards."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def sources(path: Path, dataset: h5py.Dataset) -> list[Path]:
    """The shards behind a virtual dataset of the file `path`, in order."""
    properties = dataset.id.get_create_plist()
    names = [properties.get_virtual_filename(i) for i in range(properties.get_virtual_count())]
    return [Path(os.path.normpath(path.parent / name)) for name in names]
