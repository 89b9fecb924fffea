"""A GPU that is a host: the device programs compiled for it and run by fibers, behind kernels/cuda_runtime.py.

Its arrays are NumPy's, but as strange to NumPy's own as CuPy's are: an operation that mixes the two is refused.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rnnlimits.kernels import compiler, launch, toolchain
from rnnlimits.kernels.cuda_backend import CudaBackend
from rnnlimits.kernels.cuda_runtime import Program
from rnnlimits.kernels.launch import Limits

EMULATOR = Path(__file__).parent.parent / "emulator"
FLAGS = ["-std=c++17", "-O1", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra", "-Wno-unused", "-Wno-unknown-pragmas", "-Wno-psabi", "-shared", "-fPIC"]
PROGRAMS = {
    "device_twin.cu": ["twin_path"],
    "device_tangents.cu": ["tangent_layouts"] + [f"{word}_tangents" for word in ("train", "settle", "probe", "square")],
    "device_train.cu": ["train_segment"],
    "device_probe.cu": ["layout", "settle_units", "settle_states", "probe"],
    "device_paths.cu": ["philox_words", "fill", "finite_path"],
}
SMALL_GPU = Limits("emulated GPU", (9, 0), 4)  # few multiprocessors, so that grids take replicas in turns


class DeviceArray(np.ndarray):
    """Refuses NumPy's arrays in operations, as CuPy does; numbers are welcome."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        refuse_strangers((*inputs, *(out or ()), *options.values()), f"numpy.{ufunc.__name__}")
        plain = [a.view(np.ndarray) if isinstance(a, DeviceArray) else a for a in inputs]
        if out is not None:
            options["out"] = tuple(a.view(np.ndarray) for a in out)
        return on_device(getattr(ufunc, method)(*plain, **options))

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function is not np.copyto:  # which other functions of NumPy use within
            refuse_strangers((*flat(args), *flat(kwargs.values())), f"numpy.{function.__name__}")
        return on_device(super().__array_function__(function, types, args, kwargs))

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_strangers((value,), "an assignment")
        super().__setitem__(key, value)

    def __float__(self) -> float:
        return float(self.view(np.ndarray))


def flat(values: Any) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]


def refuse_strangers(values: Any, where: str) -> None:
    if any(type(value) is np.ndarray and value.ndim > 0 for value in values):
        raise TypeError(f"{where}: an array of the host among arrays of the device")


def on_device(values: Any) -> Any:
    if isinstance(values, tuple | list):
        return type(values)(on_device(value) for value in values)
    return values.view(DeviceArray) if isinstance(values, np.ndarray | np.generic) else values


@contextmanager
def conversions_refused() -> Iterator[None]:
    """The project's code cannot make NumPy's arrays of the device's, as of CuPy's; a subclass does not prevent it.

    NumPy calls the same functions within others that are allowed.
    """

    def strict(function: Callable[..., Any]) -> Callable[..., Any]:
        def make(values: Any, *args: Any, **kwargs: Any) -> Any:
            caller = sys._getframe(1).f_globals["__name__"].split(".")[0]
            if caller == "rnnlimits" and any(isinstance(value, DeviceArray) for value in flat([values])):
                raise TypeError(f"numpy.{function.__name__}: implicit conversion of an array of the device")
            return function(values, *args, **kwargs)

        return make

    with pytest.MonkeyPatch.context() as patch:
        for name in ("array", "asarray", "ascontiguousarray"):
            patch.setattr(np, name, strict(getattr(np, name)))
        yield


def _plain(values: Any) -> Any:
    return values.view(np.ndarray) if isinstance(values, DeviceArray) else values


def _maker(function: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        return on_device(np.array(function(*args, **kwargs)))

    return make


def _as_device(values: Any, dtype: Any = None) -> Any:
    return on_device(np.asarray(_plain(values), dtype=dtype))


class Guarded(np.ndarray):
    """The bytes of an array of the device, and after them some that no program may touch."""

    @classmethod
    def array(cls, shape: Any, dtype: Any, value: float) -> Any:
        """An array of the device that is filled with a value."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        own = np.full(size + len(GUARD), 0, dtype=np.uint8).view(cls)
        own[size:] = GUARD
        array = on_device(own[:size].view(np.ndarray).view(dtype).reshape(shape))
        array[...] = value
        return array

    @staticmethod
    def intact(array: Any) -> bool:
        """Whether nothing was written past the end of what an array is a part of."""
        whole = None
        while array is not None:
            whole = array if isinstance(array, Guarded) else whole
            array = getattr(array, "base", None)
        return whole is None or bool((whole.view(np.ndarray)[-len(GUARD) :] == GUARD).all())


GUARD = np.random.default_rng(1).integers(0, 256, 1 << 14, dtype=np.uint8)
XP = SimpleNamespace(
    empty=lambda shape, dtype=np.float64: Guarded.array(shape, dtype, 77),  # poison
    zeros=lambda shape, dtype=np.float64: Guarded.array(shape, dtype, 0),
    array=_maker(np.array),
    asarray=_as_device,
    ascontiguousarray=lambda values: on_device(np.ascontiguousarray(_plain(values))),
)


def library(source: str, name: str, macros: tuple[tuple[str, object], ...]) -> ctypes.CDLL:
    """The device program `name`, compiled for the host, together with those of its source that always exist."""
    always = PROGRAMS.get(source, [])
    return _compiled(source, tuple(always) if name in always else (name,), macros)


@cache
def _compiled(source: str, names: tuple[str, ...], macros: tuple[tuple[str, object], ...]) -> ctypes.CDLL:
    entries = "".join(f"EMULATED({name})\n" for name in names)
    text = f'#include "{compiler.SOURCE / source}"\n{entries}'
    with tempfile.TemporaryDirectory() as folder:
        program, target = Path(folder) / "program.cpp", Path(folder) / "program.so"
        program.write_text(text)
        defines = [f"-D{key}={value}" for key, value in macros]
        command = [*toolchain.find_compiler(), *FLAGS, f"-I{EMULATOR}", f"-I{compiler.SOURCE}", *defines, str(program)]
        done = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:3000]
        return ctypes.CDLL(str(target))


class EmulatedRuntime:
    """See kernels.cuda_runtime.Runtime."""

    def __init__(self, limits: Limits = SMALL_GPU, memory: int = 1 << 34, backwards: bool = False) -> None:
        self.xp: Any = XP
        self.compiler = "the emulator"
        self.limits, self._memory, self._backwards = limits, memory, backwards
        self.launched: list[str] = []

    def program(self, source: str, name: str, macros: Mapping[str, object], cooperative: bool = False) -> Program:
        """See kernels.cuda_runtime.Runtime.program."""
        entry = getattr(library(source, name, tuple(sorted(macros.items()))), f"launch_{name}")
        cluster = int(str(macros.get("CLUSTER", 1)))

        def start(grid: tuple[int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
            self.launched.append(name)
            if cooperative:
                assert grid[0] <= launch.STREAMING_BLOCKS * self.limits.multiprocessors, (
                    "these blocks cannot all run at once"
                )
            assert grid[0] % cluster == 0
            entry(grid[0], block[0], cluster, int(self._backwards), packed(arguments))
            assert all(Guarded.intact(argument) for argument in arguments), f"{name}: a write past the end of an array"

        return start

    def free_bytes(self) -> int:
        """See kernels.cuda_runtime.Runtime.free_bytes."""
        return self._memory

    def to_host(self, array: Any) -> NDArray[Any]:
        """See kernels.cuda_runtime.Runtime.to_host."""
        return np.array(array.view(np.ndarray))

    def keep_pace(self) -> None:
        """Every launch has ended when it returns."""


def packed(arguments: tuple[Any, ...]) -> Any:
    """A pointer to each argument: to the address of an array, to the value of a number."""
    places = []
    for argument in arguments:
        if isinstance(argument, np.ndarray) and argument.ndim > 0:
            assert isinstance(argument, DeviceArray), "an array of the host in a launch"
            assert argument.flags.c_contiguous
            places.append(np.array([argument.ctypes.data], dtype=np.uint64))
        else:
            assert isinstance(argument, np.generic), f"{argument!r} has no C type"
            places.append(np.array([argument]))
    pointers = (ctypes.c_void_p * len(places))(*(place.ctypes.data for place in places))
    pointers.kept = places  # as long as the pointers live
    return pointers


def emulated(limits: Limits = SMALL_GPU, **options: Any) -> CudaBackend:
    """The CUDA back end on an emulated GPU."""
    return CudaBackend(EmulatedRuntime(limits, **options))
