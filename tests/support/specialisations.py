"""The device programs compiled for GPUs that need not be there, and what each takes of a multiprocessor.

    python tests/support/specialisations.py       # writes docs/specialisations.md

NVRTC needs neither driver nor GPU. Everything is compiled with the options that the CUDA back end and CuPy give.
"""

from __future__ import annotations

import itertools
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT / "src") not in sys.path:  # as a script
    sys.path.insert(0, str(ROOT / "src"))

from rnnlimits.kernels import compiler, launch  # noqa: E402
from rnnlimits.kernels.cuda_runtime import first_error, nvrtc_options  # noqa: E402
from rnnlimits.kernels.interface import Training  # noqa: E402
from rnnlimits.kernels.launch import Launch, Limits  # noqa: E402

TABLE = ROOT / "docs" / "specialisations.md"
NAME_COLUMNS = 4  # of the table, with the empty one before the first bar
COMMAND = "python tests/support/specialisations.py"
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")  # which CuPy adds to those it is given
DEVICES = [Limits("A100", (8, 0), 108), Limits("H100", (9, 0), 132), Limits("B200", (10, 0), 148)]
MOST_WIDTH = 4_000_000
WORKERS = 2

# What a multiprocessor of each of DEVICES has.
REGISTERS, REGISTERS_PER_THREAD, SHARED_BYTES = 65_536, 255, 48 * 1024


# --- which trainings and launches --------------------------------------------------------------------------


def training(
    width: int, precision: str, activation: str, dimension: int, depth: int, update_b: bool, beta: float = 0.75
) -> Training:
    return Training(
        width, dimension, beta, 1, activation=activation, depth=depth, update_b=update_b, precision=precision
    )


TABULATED = ("tanh", "erf", "logistic")  # erf stores its slopes
PRECISIONS, DIMENSIONS, DEPTHS = ("float32", "float64"), (1, 2, 3, 10), (1, 2, 3)


def plain() -> list[Training]:
    """Every precision, depth and choice about B for tanh in one dimension."""
    choices = itertools.product(PRECISIONS, DEPTHS, (True, False))
    return [training(1, precision, "tanh", 1, depth, b) for precision, depth, b in choices]


def covering() -> list[Training]:
    """Twelve trainings in which any two choices of two of the five properties meet (tests say so)."""
    return [
        training(1, PRECISIONS[(i + j) % 2], TABULATED[(i + j) % 3], dimension, depth, (i // 2 + j) % 2 == 0)
        for (i, dimension), (j, depth) in itertools.product(enumerate(DIMENSIONS), enumerate(DEPTHS))
    ]


def widths(slots: int) -> Iterator[int]:
    """Widths on both sides of every change of a team, and many between them."""
    yield from range(1, 1025)
    most = max(slots, 1) * launch.BLOCK_THREADS
    for blocks in (1, *launch.CLUSTERS, *(device.multiprocessors for device in DEVICES)):
        yield from (most * blocks, most * blocks + 1)
    width = 1024
    while width < MOST_WIDTH:
        yield width
        width += 1 + width // 50


def launches(what: Training, device: Limits) -> list[Launch]:
    """One launch for each program that the chooser takes for a network of this kind, of whatever width."""
    found: dict[str, Launch] = {}
    for width in widths(launch.most_slots(what)):
        chosen = launch.choose(resized(what, width), device)
        found.setdefault(str(chosen.macros), chosen)
    return list(found.values())


def resized(what: Training, width: int) -> Training:
    return training(width, what.precision, what.activation, what.dimension, what.depth, what.update_b)


def fullest(chosen: Iterable[Launch]) -> list[Launch]:
    """For each team the launch with most slots and blocks, and the streamed ones."""
    best: dict[tuple[str, bool], Launch] = {}
    for one in sorted(chosen, key=lambda launch: (launch.slots, launch.blocks)):
        best[one.team, one.slots == 0] = one
    return list(best.values())


# --- compiling ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A source of src/ under macros for an architecture."""

    source: str
    macros: tuple[tuple[str, object], ...]
    architecture: int


@dataclass(frozen=True)
class Usage:
    """What one device program takes: registers a thread; bytes of stack, spills and shared memory."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


Programs = dict[str, Usage]


@dataclass(frozen=True)
class Specialisation:
    """A training program: its network, its launch, its device."""

    training: Training
    launch: Launch
    device: Limits

    @property
    def task(self) -> Task:
        macros = {**launch.specialisation(self.training), **self.launch.macros}
        return Task("device_train.cu", tuple(sorted(macros.items())), self.device.architecture)

    @property
    def name(self) -> str:
        """The row of the table, without the architecture."""
        t, team = self.training, self.launch.team
        b = "trained" if t.update_b else "fixed"
        if team == "cluster":
            team += f" x {self.launch.blocks}"
        program = f"{t.precision}, {t.activation}, d = {t.dimension}, depth {t.depth}, B {b}"
        return f"| {program} | {team} | {self.launch.slots or 'streamed'} |"

    @property
    def blocks_promised(self) -> int:
        """Blocks that a multiprocessor must hold at once."""
        return launch.STREAMING_BLOCKS if self.launch.slots == 0 else 1


def nvrtc_version() -> str:
    from cupy.cuda import nvrtc

    return ".".join(map(str, nvrtc.getVersion()))


def compile_source(text: str, name: str, macros: dict[str, object], architecture: int) -> tuple[str, bytes]:
    """Log and binary of a source. Raises ValueError with the first error of the log."""
    from cupy.cuda import nvrtc

    options = [*nvrtc_options(macros), *CUPY_OPTIONS, f"-arch=sm_{architecture}", "--ptxas-options=-v"]
    program = nvrtc.createProgram(text, name, [], [])
    try:
        nvrtc.compileProgram(program, options)
        return nvrtc.getProgramLog(program), nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        raise ValueError(first_error(nvrtc.getProgramLog(program))) from error
    finally:
        nvrtc.destroyProgram(program)


def compile_task(task: Task) -> Programs | str:
    """What each program of a source takes, or the first error."""
    try:
        log, binary = compile_source(
            (compiler.SOURCE / task.source).read_text(), task.source, dict(task.macros), task.architecture
        )
    except ValueError as error:
        return str(error)
    programs = read_log(log)
    written = binary_registers(binary)
    said = {name: usage.registers for name, usage in programs.items()}
    return programs if written == said else f"registers in the log {said}, in the binary {written}"


def compile_all(tasks: Iterable[Task], workers: int = WORKERS) -> dict[Task, Programs | str]:
    """The same of many, in processes of their own: NVRTC keeps Python's lock."""
    distinct = list(dict.fromkeys(tasks))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return dict(zip(distinct, pool.map(compile_task, distinct, chunksize=4), strict=True))


ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers([^\n]*)",
    re.DOTALL,
)


def read_log(log: str) -> Programs:
    """Usage of each program, from what the assembler says of it."""
    programs = {}
    for name, stack, stores, loads, registers, rest in ENTRY.findall(log):
        shared = re.search(r"(\d+) bytes smem", rest)
        programs[name] = Usage(int(registers), int(stack), int(stores), int(loads), int(shared[1]) if shared else 0)
    return programs


REGISTER_COUNT = 0x2F  # attribute of section .nv.info: symbol, registers


def binary_registers(binary: bytes) -> dict[str, int]:
    """Registers of each program as the driver will read them in the binary (64-bit ELF)."""
    (start,), (size, count, names) = struct.unpack_from("<Q", binary, 0x28), struct.unpack_from("<3H", binary, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", binary, start + i * size) for i in range(count)]
    place = {text(binary, sections[names][4] + section[0]): section for section in sections}
    at, end = place[".nv.info"][4], place[".nv.info"][4] + place[".nv.info"][5]
    symbols, strings = place[".symtab"][4], place[".strtab"][4]
    found = {}
    while at < end:
        form, attribute, length = struct.unpack_from("<BBH", binary, at)
        if (form, attribute) == (4, REGISTER_COUNT):
            symbol, registers = struct.unpack_from("<II", binary, at + 4)
            (name,) = struct.unpack_from("<I", binary, symbols + 24 * symbol)
            found[text(binary, strings + name)] = registers
        at += 4 + (length if form == 4 else 0)  # other forms have their value in place of the length
    return found


def text(binary: bytes, at: int) -> str:
    return binary[at : binary.index(b"\0", at)].decode()


# --- the table ---------------------------------------------------------------------------------------------

INTRODUCTION = """# What the training programs take of a GPU

This page is for those who change the kernels: it shows where registers run out. The table lists the
registers that a thread of `train_segment` uses, as compiled by NVRTC {version} for three architectures,
with the largest number of slots that the launch chooser (`kernels/launch.py`) gives to each team.
`+n` means that n bytes of a thread's values are spilled to memory; a dash means that the chooser
does not use this program there. A thread can have {most} registers and a multiprocessor has {all}.
Blocks have {threads} threads ({warp_threads} for the team of a warp), so that one block always fits. Blocks whose
units are streamed must fit {streaming} at a time, which leaves {share} registers for a thread.

The table is written by `{command}`. `tests/kernels/test_nvrtc.py`
compares the programs with it in any case, and the counts where NVRTC has the version above.

"""


def introduction() -> str:
    return INTRODUCTION.format(
        version=nvrtc_version(),
        most=REGISTERS_PER_THREAD,
        all=f"{REGISTERS:,}",
        threads=launch.BLOCK_THREADS,
        warp_threads=launch.TEAMS_PER_BLOCK * launch.WARP,
        streaming=launch.STREAMING_BLOCKS,
        share=min(REGISTERS_PER_THREAD, REGISTERS // (launch.STREAMING_BLOCKS * launch.BLOCK_THREADS)),
        command=COMMAND,
    )


def tabulated() -> list[Specialisation]:
    """The programs of the table: the fullest of each team."""
    return [
        Specialisation(what, chosen, device)
        for what in (*plain(), *covering())
        for device in DEVICES
        for chosen in fullest(launches(what, device))
    ]


def cell(programs: Programs) -> str:
    usage = programs["train_segment"]
    spilled = usage.spill_stores
    return f"{usage.registers}+{spilled}" if spilled else str(usage.registers)


def table(wanted: list[Specialisation], compiled: dict[Task, Programs | str]) -> str:
    """The rows, in the order in which the programs come."""
    architectures = [device.architecture for device in DEVICES]
    rows: dict[str, dict[int, str]] = {}
    for one in wanted:
        programs = compiled[one.task]
        assert not isinstance(programs, str), f"{one.name}: {programs}"
        rows.setdefault(one.name, {})[one.device.architecture] = cell(programs)
    columns = " | ".join(f"sm_{architecture}" for architecture in architectures)
    lines = [f"| program | team | slots | {columns} |", "|---" * (3 + len(DEVICES)) + "|"]
    lines += [f"{name} {' | '.join(cells.get(a, '-') for a in architectures)} |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    wanted = tabulated()
    compiled = compile_all(one.task for one in wanted)
    TABLE.write_text(introduction() + table(wanted, compiled))
    print(f"wrote {TABLE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
