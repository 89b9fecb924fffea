"""The CUDA source goes through the CUDA compiler, for GPUs that need not be there, and fits on them.

What the compiler makes of every program that the launch chooser can take: it must fit on a multiprocessor as often as
the launch promises, and a step must work in registers. specialisations.py compiles; docs/specialisations.md is
its table.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import product

import pytest
import specialisations
from specialisations import DEVICES, Programs, Specialisation, Task, Usage, covering, launches, plain

from rnnlimits.kernels import compiler, launch
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.interface import Training

pytestmark = pytest.mark.needs_nvrtc

HOPPER = DEVICES[1]
# Bytes of a thread's values that may be put aside in memory. Where units are in registers these are values needed
# before and after the steps: nvdisasm shows none in the steps themselves, which the log does not tell apart.
RESIDENT_SPILLS = {80: 32, 90: 32, 100: 64}  # d <= 3, tau <= 3
STREAMED_SPILLS = 256  # the same with units in device memory, whose traffic is larger
WIDE_SPILLS = {"resident": 512, "streamed": 1024}  # d = 10
TANGENT_SPILLS = {1: 256, 6: 4096}  # by d times tau: the numbers of a step with derivatives are several times as many


def training_programs() -> list[Specialisation]:
    """The fullest launch of each team on every architecture, and every launch of some networks on one."""
    some = [*plain(), *covering()][::4]
    return specialisations.tabulated() + [
        Specialisation(what, chosen, HOPPER) for what in some for chosen in launches(what, HOPPER)
    ]


def other_tasks() -> list[Task]:
    """device_probe.cu for every network on one architecture and for some on all; paths and twins on all."""
    probes = [
        Task("device_probe.cu", tuple(sorted(launch.specialisation(what).items())), device.architecture)
        for device in DEVICES
        for what in ((*plain(), *covering()) if device is HOPPER else covering()[::4])
    ]
    probes += [
        Task("device_probe.cu", tuple(sorted(launch.specialisation(what).items())), HOPPER.architecture)
        for what in (specialisations.training(1, "float32", name, 2, 2, True) for name in ACTIVATIONS)
    ]
    chains = [{"INPUTS": d, "HIDDEN": hidden, "NONLINEAR": n} for d, hidden, n in ((1, 0, 0), (1, 1, 1), (3, 3, 1))]
    rules = [{**ACTIVATIONS[name].macros, "COORDINATES": p} for name, p in product(ACTIVATIONS, (1, 2, 4, 11))]
    paths = [
        Task("device_paths.cu", tuple(sorted(macros.items())), device.architecture)
        for device in DEVICES
        for macros in ({}, *chains, *rules)
    ]
    twins = [
        Task("device_twin.cu", (*macros.items(), ("DIMENSION", d), ("SLOTS", slots)), device.architecture)
        for device in DEVICES
        for macros in (sigma.macros for sigma in ACTIVATIONS.values())
        for d, slots in ((1, 2), (3, 4), (10, 1))
    ]
    return [*probes, *paths, *twins]


def tangent_tasks() -> list[tuple[int, Task]]:
    """Tangents of small units on all architectures and of a larger one on one: d times tau, and the task."""
    asked = [(device, "tanh", 1, 1) for device in DEVICES] + [(HOPPER, name, 1, 1) for name in ("erf", "logistic")]
    asked += [(HOPPER, "erf", 2, 3)]
    trainings = [specialisations.training(1, "float64", name, d, depth, True) for _, name, d, depth in asked]
    return [
        (d * depth, Task("device_tangents.cu", tuple(sorted(launch.of_tangents(what).items())), device.architecture))
        for (device, _, d, depth), what in zip(asked, trainings, strict=True)
    ]


@pytest.fixture(scope="module")
def compiled() -> dict[Task, Programs | str]:
    """About a minute on two cores."""
    tangents = [task for _, task in tangent_tasks()]
    return specialisations.compile_all([*(one.task for one in training_programs()), *other_tasks(), *tangents])


def usages(compiled: dict[Task, Programs | str]) -> Iterator[tuple[Specialisation, Usage]]:
    for one in training_programs():
        programs = compiled[one.task]
        if not isinstance(programs, str):
            yield one, programs["train_segment"]


def allocated(registers: int) -> int:
    """A thread gets them by eight."""
    return -(-registers // 8) * 8


def spill_limit(one: Specialisation) -> int:
    if one.training.dimension > 3:
        return WIDE_SPILLS["resident" if one.launch.slots else "streamed"]
    return RESIDENT_SPILLS[one.device.architecture] if one.launch.slots else STREAMED_SPILLS


def test_covering_lets_any_two_choices_meet() -> None:
    names = [field.name for field in fields(Training)]
    properties = [name for name in names if name in ("precision", "activation", "dimension", "depth", "update_b")]
    assert len(properties) == 5
    for first, second in itertools.combinations(properties, 2):
        values = [{getattr(what, name) for what in covering()} for name in (first, second)]
        met = {(getattr(what, first), getattr(what, second)) for what in covering()}
        assert met == set(itertools.product(*values)), f"{first}, {second}"


@pytest.mark.parametrize("what", [plain()[0], covering()[-1]], ids=lambda what: f"{what.precision}-{what.dimension}")
def test_no_launch_is_forgotten(what: Training) -> None:
    known = {str(one.macros) for one in launches(what, HOPPER)}
    for width in range(1, 70_000, 7):
        assert str(launch.choose(specialisations.resized(what, width), HOPPER).macros) in known, f"width {width}"


def test_everything_compiles(compiled: dict[Task, Programs | str]) -> None:
    """And the registers in the log are those in the binary."""
    wrong = [f"{task}: {found}" for task, found in compiled.items() if isinstance(found, str)]
    assert not wrong, "\n".join(wrong)


def test_blocks_fit_as_promised(compiled: dict[Task, Programs | str]) -> None:
    """Teams that meet in device memory wait for one another for ever unless all their blocks run at once."""
    wrong = []
    for one, usage in usages(compiled):
        registers = allocated(usage.registers) * int(str(one.launch.macros["THREADS"])) * one.blocks_promised
        shared = usage.shared * one.blocks_promised
        if registers > specialisations.REGISTERS or shared > specialisations.SHARED_BYTES:
            wrong.append(f"sm_{one.device.architecture} {one.name} {usage.registers} registers, {usage.shared} bytes")
    assert not wrong, f"{len(wrong)} do not fit:\n" + "\n".join(wrong)


def test_a_step_works_in_registers(compiled: dict[Task, Programs | str]) -> None:
    wrong = []
    for one, usage in usages(compiled):
        limit = spill_limit(one)
        if max(usage.stack, usage.spill_stores, usage.spill_loads) > limit:
            wrong.append(f"sm_{one.device.architecture} {one.name} {usage}: more than {limit} bytes")
    assert not wrong, f"{len(wrong)} spill:\n" + "\n".join(wrong)


def test_the_other_programs_work_in_registers(compiled: dict[Task, Programs | str]) -> None:
    """None spills, and at least two blocks of 256 threads fit on a multiprocessor."""
    seen = set()
    for task in other_tasks():
        programs = compiled[task]
        assert not isinstance(programs, str)
        for name, usage in programs.items():
            seen.add(name)
            assert max(usage.stack, usage.spill_stores, usage.spill_loads) == 0, f"{name} {task}: {usage}"
            most = 255 if name == "twin_path" else 128  # a twin's blocks may have a multiprocessor to themselves
            assert usage.registers <= most, f"{name} {task}: {usage}"
    assert seen == programs_of("device_probe.cu", "device_paths.cu", "device_twin.cu")


def programs_of(*files: str) -> set[str]:
    """The names of the device programs of files of src/."""
    text = "".join((compiler.SOURCE / name).read_text() for name in files)
    return set(re.findall(r"^DEVICE_PROGRAM (?:AT_MOST_THREADS\(\d+\)\s+)?(\w+)\(", text, re.MULTILINE))


def test_tangents_fit_and_few_numbers_leave_the_registers(compiled: dict[Task, Programs | str]) -> None:
    for size, task in tangent_tasks():
        programs = compiled[task]
        assert not isinstance(programs, str)
        assert {*programs} == programs_of("device_tangents.cu")
        for name, usage in programs.items():
            assert allocated(usage.registers) * launch.BLOCK_THREADS <= specialisations.REGISTERS, f"{name} {task}"
            assert usage.shared <= specialisations.SHARED_BYTES, f"{name} {task}: {usage}"
            spilled = max(usage.stack, usage.spill_stores, usage.spill_loads)
            assert spilled <= TANGENT_SPILLS[size], f"{name} {task}: {usage}"


def test_the_table_is_up_to_date(compiled: dict[Task, Programs | str]) -> None:
    """Which programs there are, in any case; their registers where this is the compiler that counted them."""
    old, advice = specialisations.TABLE.read_text(), f"run: {specialisations.COMMAND}"
    new = specialisations.table(specialisations.tabulated(), compiled)
    rows = [line for line in old.splitlines(keepends=True) if line.startswith("|")]
    columns = specialisations.NAME_COLUMNS
    names = [[row.split("|")[:columns] for row in rows_of] for rows_of in (rows, new.splitlines(keepends=True))]
    assert names[0] == names[1], f"docs/specialisations.md lists other programs; {advice}"
    version = re.search(r"NVRTC (\d+\.\d+)", old)
    assert version
    if version[1] == specialisations.nvrtc_version():
        assert "".join(rows) == new, f"docs/specialisations.md has other counts; {advice}"


def test_broken_source_is_one_line_with_the_source_line() -> None:
    name, line = "device_probe.cu", "BlockGroup group;"
    text = (compiler.SOURCE / name).read_text()
    assert line in text
    broken = text.replace(line, "BlockGrop group;")
    with pytest.raises(ValueError, match="BlockGrop") as caught:
        specialisations.compile_source(broken, name, launch.specialisation(plain()[0]), HOPPER.architecture)
    message = str(caught.value)  # first_error of the log, which is all that CuPy hands on
    assert "\n" not in message
    assert re.search(r"^device_probe.cu\(\d+\): error: .*BlockGrop", message), message
    assert message.endswith(" | BlockGrop group;"), message
