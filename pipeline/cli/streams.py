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


def takes_every_letter() -> bool:
    """Whether standard output has an encoding of Unicode."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def discard() -> None:
    """Send the rest of stdout nowhere: Python would complain about it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
