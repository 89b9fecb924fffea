"""Standard output and error that never fail for a letter, and fail in one line if they cannot be written."""

from __future__ import annotations

import io
import os
import sys

from rnnlimits.base.errors import StudyError


class Output(io.TextIOWrapper):
    """Standard output that raises StudyError if it cannot be written, as on a full disk.

    A closed pipe remains a BrokenPipeError.
    """

    def write(self, text: str) -> int:
        """Write text; raises StudyError."""
        try:
            return super().write(text)
        except OSError as error:
            raise _refused(error) from error

    def flush(self) -> None:
        """Write out what is buffered; raises StudyError."""
        try:
            super().flush()
        except OSError as error:
            raise _refused(error) from error


class Errors(io.TextIOWrapper):
    """Standard error that goes nowhere once nobody reads it: no reason to stop, nor to complain at the end."""

    def write(self, text: str) -> int:
        """Write text, if that is possible."""
        try:
            return super().write(text)
        except OSError:
            discard(2)
            return len(text)

    def flush(self) -> None:
        """Write out what is buffered, if that is possible."""
        try:
            super().flush()
        except OSError:
            discard(2)


def _refused(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    discard()
    return StudyError(f"stdout: cannot be written: {error.strerror}; what was computed is in its files")


def prepare() -> None:
    """Show letters that the encoding lacks by their number, and write to nowhere what the caller has closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # print would take the other one
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for as long as the process)
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        settings = {"encoding": out.encoding, "line_buffering": out.line_buffering}
        sys.stdout = Output(out.detach(), errors="backslashreplace", **settings)  # type: ignore[arg-type]
    err = sys.stderr
    if isinstance(err, io.TextIOWrapper):
        sys.stderr = Errors(err.detach(), encoding=err.encoding, errors="backslashreplace", line_buffering=True)


def takes_every_letter() -> bool:
    """Whether standard output has an encoding of Unicode."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def discard(descriptor: int = 1) -> None:
    """Send the rest of stdout, or of stderr, nowhere: Python would complain about it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
