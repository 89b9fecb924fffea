"""Progress that the stages write to results/STUDY/logs: read from the end, and afterwards only what was added."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rnnlimits.watch.listing import Listing

PIECE = 64_000  # bytes read of one log in one refresh, at most
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
STARTED = re.compile(r".*, (\d+) ranks$")
MOVING = re.compile(r"(?P<label>\S.*?): +(?P<share>\d+)%, (?P<rate>\S+) (?P<unit>\S+)/s, (?P<left>.+) left$")
ENDED = re.compile(r"(?P<label>\S.*?): \S+ (?P<unit>\S+) in [\d.]+ (s|min|h)\b[^,]*(, (?P<rate>\S+) \S+/s)?")
DEVICES = re.compile(r"ranks? [\d, -]+: .* GPU \d+ \(")
ERROR = re.compile(r"(rnnlimits: (?P<line>.*)|(?P<kind>[A-Za-z_.]*(Error|Exception|Interrupt))(: .*|$))")
LENGTH = re.compile(r"(?:(\d+) h )?(?:(\d+) min)?(?: ?([\d.]+) s)?$")


@dataclass(frozen=True)
class Log:
    """The state of the last command that wrote a log.

    label, share, rate, unit, left (seconds): from its last progress line. ended: the final line followed it.
    failure: its line about a failure. changed: the time when it was last written.
    """

    name: str
    changed: float
    ranks: int | None = None
    devices: str = ""
    label: str = ""
    share: float | None = None
    rate: float | None = None
    unit: str = ""
    left: float | None = None
    ended: bool = False
    failure: str = ""


class Logs:
    """The logs of one results folder."""

    def __init__(self, folder: Path, listing: Listing) -> None:
        self._folder, self._listing = folder, listing
        self._read: dict[str, tuple[int, int, Log]] = {}

    def all(self) -> list[Log]:
        """The state of each log, sorted by name."""
        names = sorted(name for name in self._listing.names(self._folder) if name.endswith(".log"))
        return [log for log in map(self._log, names) if log is not None]

    def _log(self, file: str) -> Log | None:
        path = self._folder / file
        try:
            state = os.stat(path)
            inode, read, log = self._read.get(file, (0, 0, None))
            if log is None or inode != state.st_ino or state.st_size < read:
                read, log = 0, Log(path.stem, state.st_mtime)
            if state.st_size > read:
                read, log = _continued(path, read, state.st_size, log)
        except OSError:
            return None
        log = replace(log, changed=state.st_mtime)
        self._read[file] = (state.st_ino, read, log)
        return log


def _continued(path: Path, read: int, size: int, log: Log) -> tuple[int, Log]:
    """The log with the complete added lines (at most the last PIECE bytes), and the position of their end."""
    skipped = max(read, size - PIECE)
    with path.open("rb") as file:
        first = file.readline(PIECE) if skipped and not read else b""
        file.seek(skipped)
        piece = file.read(size - skipped)
    complete = piece.rfind(b"\n") + 1
    text = (first + piece[:complete]).decode(errors="replace")
    return skipped + complete, with_lines(log, text.splitlines())


def with_lines(log: Log, lines: Iterable[str]) -> Log:
    """The state of a log after these lines."""
    for line in lines:
        log = _after(log, STAMP.sub("", line).rstrip())
    return log


def _after(log: Log, line: str) -> Log:
    # A line of progress ends in a carriage return if a stage drew it on a terminal.
    line = line.rsplit("\r", 1)[-1]
    if (words := STARTED.match(line)) is not None:
        return Log(log.name, log.changed, ranks=int(words[1]))
    if DEVICES.match(line):
        return replace(log, devices=line)
    if (words := MOVING.match(line)) is not None:
        share, rate, left = float(words["share"]) / 100, float(words["rate"]), seconds(words["left"])
        log = replace(log, share=share, rate=rate, left=left, ended=False, failure="")
        return replace(log, label=words["label"], unit=words["unit"])
    if (words := ERROR.match(line)) is not None:
        return replace(log, failure=words["line"] or line)
    if (words := ENDED.match(line)) is not None:
        best = float(words["rate"]) if words["rate"] else None
        log = replace(log, share=1.0, rate=best, left=0.0, ended=True, failure="")
        return replace(log, label=words["label"], unit=words["unit"])
    return log


def seconds(text: str) -> float | None:
    """Seconds from a text of progress.readable_time; None for an unknown time."""
    words = LENGTH.match(text)
    if words is None or not text:
        return None
    hours, minutes, rest = (float(word or 0) for word in words.groups())
    return 3600 * hours + 60 * minutes + rest
