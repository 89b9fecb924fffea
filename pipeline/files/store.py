"""HDF5 files of this project: written completely or not at all, read only when complete and safe.

The format is documented field by field in docs/format.md. This module is the entry point: variables.py defines how a
value is stored, reading.py how it is read, checks.py what is refused, durable.py how bytes reach the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import h5py

from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable, scales
from rnnlimits.files.attributes import set_attributes
from rnnlimits.files.provenance import provenance
from rnnlimits.files.reading import FORMAT, FORMAT_VERSION, File, Variable, attribute_of, digest_of, open_complete
from rnnlimits.files.seal import seal
from rnnlimits.files.variables import attach_scales, put

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "File",
    "Variable",
    "atomic_h5",
    "attribute_of",
    "digest_of",
    "open_complete",
    "provenance",
    "put",
]

# Metadata with checksums, readable by every HDF5 since 1.10 (of 2016).
LIBVER = ("v110", "v110")

FAILURES = ("Can't", "Unable")  # how h5py begins what went wrong within HDF5


@contextmanager
def atomic_h5(
    path: Path, kind: str, attrs: Mapping[str, object], note: Callable[[h5py.File], None] | None = None
) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that appears at `path`, complete, when the block ends, and not at all if it raises.

    kind: what the file holds ("train-shard", ...); attrs: further root attributes (text, numbers, lists of numbers;
    mappings become JSON); note: called once all variables are in the file. Variables are added with `put`.
    Raises StudyError with path and reason if the folder is not writable (before the block runs), the disk is full, or
    HDF5 fails.
    """
    path = Path(path)
    durable.require_folder(path)
    # Built in memory and written as plain bytes: on a full disk HDF5 fails a second time when it closes, in a
    # destructor and with a message of its own, whereas os.write raises one ordinary error. Files have at most some
    # hundred MB, and their content was in memory anyway.
    try:
        with h5py.File(uuid4().hex, "w", driver="core", backing_store=False, libver=LIBVER, track_order=True) as file:
            set_attributes(file, {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, **attrs})
            try:
                yield file
                attach_scales(file)
                if note is not None:
                    note(file)
            finally:
                scales.forget(file)
            set_attributes(file, {"complete": True})
            file.flush()
            image = file.id.get_file_image()
    except RuntimeError as error:
        if not str(error).startswith(FAILURES):
            raise
        what = f"HDF5 could not write it ({str(error).splitlines()[0]})"
        raise StudyError(f"{path}: {what}; nothing was written: run the same command again") from error
    durable.write_bytes(path, image, seal(image))
