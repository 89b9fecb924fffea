"""The gate for reading: files of this project, only if they are complete, safe and the expected ones.

Every array that passes was really read: from the bytes whose checksum was checked, and in an ensemble from the shards
that were joined. No fill values, whatever HDF5, the file system or the environment do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.files import audit, checks, digests, shards
from rnnlimits.files.checks import FORMAT, FORMAT_VERSION, attribute_of, shown
from rnnlimits.files.snapshot import AGAIN, Unreadable
from rnnlimits.files.views import File, Group, Variable

__all__ = [
    "AGAIN",
    "FORMAT",
    "FORMAT_VERSION",
    "File",
    "Group",
    "Unreadable",
    "Variable",
    "attribute_of",
    "digest_of",
    "digest_of_group",
    "open_complete",
    "shown",
]


@contextmanager
def open_complete(path: Path, kind: str | None, **expected: object) -> Iterator[File]:
    """Yield a finished file, read-only, after checking that it is complete, safe and the expected one.

    kind: the required kind (None: any); expected: root attributes and their values (cell_id="..."). Values are read
    from the bytes that were checked, even if the file is replaced meanwhile. An ensemble is accepted only with each
    shard that was joined, which is checked again, bit for bit, when its values are read.
    Raises StudyError in one line: missing, empty, truncated, not HDF5, no `complete`, other format or version, other
    kind, from another study, or nothing that this software writes; Unreadable where only reading failed. Damage met
    while reading values ends the same way.
    """
    path = Path(path)
    required = ({} if kind is None else {"kind": kind}) | expected
    with checks.opened(path, required) as (file, _, virtual):
        joined = shards.of_file(path, file, virtual) if virtual else None
        with checks.translated(path):
            view = File(path, file, joined)
        try:
            yield view
        except audit.Unsafe as error:
            raise StudyError(f"{path}: is not safe to read: {shown(error)}; delete it") from error


def digest_of(path: Path, group: str = "/") -> str:
    """One digest of the values in a file, or in one group of a packed file: 64 hexadecimal digits.

    Over names and digests of all variables that are not volatile, computed from the values: independent of time
    stamps, storage and provenance, and equal for a virtual ensemble and its packed copy.
    """
    with open_complete(path, None) as file:
        return digest_of_group(file.group(group))


def digest_of_group(group: Group) -> str:
    """Like `digest_of`, for a group of an open file and all groups below it."""
    prefix = group.name.rstrip("/") + "/"
    computed = {name: digest for below in group.groups() for name, digest in below.digests().items()}
    return digests.of_names({name.removeprefix(prefix): digest for name, digest in computed.items()})
