"""Draws: surroundings and inputs by seed, each a function of (seed, index) alone, and what became of them.

A kind is one function under `@reader` (milliseconds, in this process) or `@whole_run` (a study in processes of its
own). It makes its input from `draw.random`, below `draw.folder`, and returns OK or REFUSED, or raises Fault. Whatever
else it raises is a fault too: a traceback that a user would see.
"""

from __future__ import annotations

import io
import resource
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from runs import HANG

from rnnlimits import cli
from rnnlimits.base.errors import StudyError

OK, REFUSED, FAULT = "ok", "refused", "FAULT"
MEMORY = 8 << 30  # further bytes of address space, within which every small input must be dealt with
RUNS_OF_ONE = 4  # at most so many starts of the program in a draw of a whole run, each of which may take HANG
LEAST = 20  # characters of a line that says something


class Fault(Exception):
    """What must not happen: another result, a traceback, several lines, a hang."""


@dataclass
class Draw:
    """One draw: its source of randomness, an empty folder of its own, and notes on what was drawn."""

    random: Random
    folder: Path
    notes: list[str] = field(default_factory=list)

    def choice(self, label: str, options: Sequence[Any]) -> Any:
        """One of the options, noted under a label."""
        value = self.random.choice(options)
        self.notes.append(f"{label}={value!r}")
        return value

    def chance(self, label: str, probability: float) -> bool:
        """True with this probability; noted if so."""
        happens = self.random.random() < probability
        if happens:
            self.notes.append(label)
        return happens


Kind = Callable[[Draw], str]
READERS: dict[str, Kind] = {}
RUNS: dict[str, Kind] = {}


def reader(kind: Kind) -> Kind:
    """Register a kind of input for the readers, under the name of its function."""
    READERS[kind.__name__] = kind
    return kind


def whole_run(kind: Kind) -> Kind:
    """Register a kind of surroundings for whole runs."""
    RUNS[kind.__name__] = kind
    return kind


@dataclass(frozen=True)
class Result:
    """What became of one draw, and the words of the command that repeats it."""

    seed: int
    index: int
    kind: str
    outcome: str
    said: str
    notes: tuple[str, ...]
    option: str

    def __str__(self) -> str:
        command = f"python tests/fuzz --seed {self.seed} --{self.option} {self.index}"
        return "\n".join(
            [f"{self.outcome} {self.kind}: {self.said}", f"  drawn: {', '.join(self.notes)}", f"  {command}"]
        )


def turn(kinds: dict[str, Kind], seed: int, index: int) -> str:
    """The kind of a draw: all take turns, so that few draws meet most of them; another seed begins with another one."""
    names = list(kinds)
    return names[(seed + index) % len(names)]


def one(kinds: dict[str, Kind], seed: int, index: int) -> Result:
    """Draw `index` of a seed."""
    name = turn(kinds, seed, index)
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        draw = Draw(Random(f"{seed} {name} {index}"), Path(folder).resolve())
        outcome, said = _lived(kinds[name], draw, None if kinds is RUNS else MEMORY)
    option = "run" if kinds is RUNS else "draw"
    return Result(seed, index, name, outcome, said, tuple(draw.notes), option)


def _lived(kind: Kind, draw: Draw, memory: int | None) -> tuple[str, str]:
    try:
        with within(HANG if memory else RUNS_OF_ONE * HANG, memory):
            return kind(draw), ""
    except Fault as fault:
        return FAULT, str(fault)
    except RuntimeWarning as warning:
        return FAULT, f"a warning of NumPy: {warning}"
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return FAULT, f"traceback: {type(error).__name__}: {' '.join(str(error).split())[:200]} ({where})"


@contextmanager
def within(seconds: int, memory: int | None) -> Iterator[None]:
    """Raise Fault if what is inside takes longer; let this process have so many more bytes of address space."""

    def end(*_: object) -> None:
        raise Fault(f"hangs: not finished after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if memory is not None and hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + memory, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()


def table(results: Sequence[Result]) -> str:
    """How often each kind ended how, one row for each kind."""
    counts = Counter((result.kind, result.outcome) for result in results)
    kinds = list(dict.fromkeys(result.kind for result in results))
    columns = (OK, REFUSED, FAULT)
    rows = [[kind, *(str(counts[kind, outcome]) for outcome in columns)] for kind in kinds]
    rows.append(["all", *(str(sum(counts[kind, outcome] for kind in kinds)) for outcome in columns)])
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name.ljust(width)} {a:>8} {b:>8} {c:>8}" for name, a, b, c in [["kind", *columns], *rows])


# --- what is asked of the program --------------------------------------------------------------------------------


def refusal(act: Callable[[], object], *named: str) -> str | None:
    """The line of the StudyError that `act` raises, or None. Raises Fault unless the line names all `named`."""
    with _calm():
        try:
            act()
        except StudyError as error:
            return required(str(error), *named)
    return None


def required(line: str, *named: str) -> str:
    """A refusal, if it is one line that says something and names all `named`. Raises Fault otherwise."""
    if len(line.strip().splitlines()) != 1 or len(line.strip()) < LEAST:
        raise Fault(f"a refusal must be one line that says something: {line[:300]!r}")
    if "out of memory" in line:
        raise Fault(f"a small input needs more than {MEMORY >> 30} GiB: {line[:200]}")
    for name in named:
        if name not in line:
            raise Fault(f"the refusal does not name {name!r}: {line[:300]}")
    return line.strip()


@contextmanager
def _calm() -> Iterator[None]:
    """Warnings of NumPy are faults: they are lines that nobody asked for, of numbers that are not right."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        yield


@dataclass(frozen=True)
class Done:
    """What a command did: exit code, and what it printed."""

    code: int
    out: str
    err: str


def command(folder: Path, *words: object) -> Done:
    """Run `rnnlimits WORDS` in this process, with `folder` as working folder."""
    out, err = io.StringIO(), io.StringIO()
    with _calm(), chdir(folder), redirect_stdout(out), redirect_stderr(err):
        try:
            code: object = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return Done(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())


def judged(done: Done, expected: str | None = None, lists: bool = False) -> str:
    """OK or REFUSED. Raises Fault for another exit code than 0 and 2, a bad refusal, NaN, other output than expected.

    lists: whether a refusal may list faults on stdout, as that of `validate`.
    """
    if done.code == 2:
        line = required(done.err)
        if done.out and not lists:
            raise Fault(f"a refused command prints nothing on stdout: {done.out[:200]!r}")
        if not line.startswith("rnnlimits: "):
            raise Fault(f"a refusal begins with 'rnnlimits: ': {line[:300]}")
        return REFUSED
    if done.code != 0:
        raise Fault(f"exit code {done.code}: {done.err[-300:]!r}")
    if "nan" in done.out.lower().split():
        raise Fault("exit code 0, and NaN on stdout")
    if expected is not None and done.out != expected:
        raise Fault(f"exit code 0, and other output than in calm surroundings: {_first_difference(done.out, expected)}")
    return OK


def _first_difference(found: str, expected: str) -> str:
    pairs = zip([*found.splitlines(), ""], [*expected.splitlines(), ""], strict=False)
    return next((f"{a[:120]!r}, calm {b[:120]!r}" for a, b in pairs if a != b), "fewer lines")
