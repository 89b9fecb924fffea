"""Python files of the user's own that a study names: identified by their bytes, and run only when the study is used."""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rnnlimits.base.errors import StudyError
from rnnlimits.base.textfiles import require_file

_RUN: dict[OwnFile, ModuleType] = {}  # in this process


@dataclass(frozen=True)
class OwnFile:
    """The contents of a Python file at one moment; path: as messages name it; key: the key of the study that names it.

    Whoever asks for its identity and for its code has both from the same bytes, even if the file is edited meanwhile.
    """

    path: Path
    key: str
    text: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, in hexadecimal."""
        return hashlib.sha256(self.text).hexdigest()


def read(path: Path, key: str) -> OwnFile:
    """The contents of a file that a study names by `key`. Raises StudyError if it cannot be read."""
    try:
        require_file(path)
        return OwnFile(path, key, path.read_bytes())
    except OSError as error:
        advice = f"{key} names it, relative to the study file"
        raise StudyError(f"{path}: cannot be read: {error.strerror}; {advice}") from error


def moved(file: str, old: Path, new: Path) -> str:
    """The path of a file relative to folder `new`, given that relative to folder `old`; the file stays where it is."""
    # Of real folders: from a folder that is reached through a link, `..` leads to the parent of the link's target.
    place = old / file
    real = place.parent.resolve() / place.name
    return os.path.relpath(real, new.resolve())


def module(file: OwnFile) -> ModuleType:
    """The names that the file defines; it is run once in a process. Raises StudyError, with its line, if it fails."""
    if file not in _RUN:
        _RUN[file] = _run(file)
    return _RUN[file]


def _run(file: OwnFile) -> ModuleType:
    made = ModuleType(f"rnnlimits_own_{len(_RUN)}_{file.digest[:12]}")
    made.__file__ = str(file.path)
    try:
        code = compile(file.text, str(file.path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        line = getattr(error, "lineno", None)
        raise StudyError(f"{_place(file, line)}: is not Python: {getattr(error, 'msg', error)}") from error
    sys.modules[made.__name__] = made  # dataclasses look their module up
    try:
        exec(code, made.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[made.__name__]
        raise failure(file, error) from error
    return made


def failure(file: OwnFile, error: BaseException) -> StudyError:
    """The error to raise for one that the code of a file has raised, with the line that was running."""
    if isinstance(error, StudyError):
        return error
    words = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        words += "; a file of your own can import installed packages, not files next to it"
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return StudyError(f"{_place(file, _line(file, error))}: {what}")


@contextmanager
def blamed(*files: OwnFile) -> Iterator[None]:
    """Errors that the code of these files raises are StudyErrors of one line; others stay as they are."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        if file := next((file for file in files if _line(file, error) is not None), None):
            raise failure(file, error) from error
        raise


def _line(file: OwnFile, error: BaseException) -> int | None:
    """The line of the file that was running last."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(file.path)), None)


def _place(file: OwnFile, line: int | None) -> str:
    return f"{file.path}: line {line}" if line else str(file.path)
