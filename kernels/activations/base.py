"""The definition of an activation sigma: in NumPy functions, and in C++ for the compiled kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnlimits.kernels import cache
from rnnlimits.kernels.interface import KernelError

Array = NDArray[np.float64]
Function = Callable[[Array], Array]  # on arrays of any shape: NumPy in double precision, or those of a device


@dataclass(frozen=True)
class Activation:
    """A bounded smooth sigma. tests/kernels/test_activations.py checks these properties for every registered one.

    The C++ `source` defines, for lanes V of float or of double and with src/functions.h included,

        template <class V> KERNEL void sigma(V a, V& value, V& slope)
        template <class V> KERNEL V slope_of_value(V value)             // where there is `slope_of_value`

    Host and device must agree, so it calls the functions of src/functions.h and src/lanes.h, never those of the system;
    large arguments must not overflow in single precision, and not-a-number must stay not-a-number.
    """

    name: str  # as in study files
    value: Function
    slope: Function
    slope_of_value: Function | None  # sigma' as a function of sigma; None: a unit stores the slopes of past steps
    slope_bound: float  # sup |sigma'|
    odd: bool  # sigma(-a) = -sigma(a)
    single_error: float  # largest error of the C++ value in single precision
    source: str  # empty: defined in NumPy alone
    autodiff: Callable[[Any], Callable[[Any], Any]]  # from the module jax: sigma, independent of the definition here

    @property
    def macros(self) -> dict[str, object]:
        """The macros for compiling src/sigma.h. Raises KernelError for an activation without C++."""
        if not self.source:
            raise KernelError(f"activation {self.name}: is defined in NumPy alone; give the back end numpy")
        return {"ACTIVATION_HEADER": f'"{self.header()}"', "STORES_SLOPE": int(self.slope_of_value is None)}

    def header(self) -> Path:
        """The C++ source as a file in the cache, where every compiler finds it. Its name changes with its content."""
        digest = hashlib.sha256(self.source.encode()).hexdigest()[:12]
        name, text = f"activation-{self.name}-{digest}.h", self.source.encode()
        if (place := cache.named()) is not None and _holds(place / name, text):
            return place / name
        path = cache.folder() / name
        if _holds(path, text):
            return path
        try:
            cache.replace(path, text)
        except OSError:  # disk full, or a file of others
            path = cache.own_folder() / name
            cache.replace(path, text)
        return path


def _holds(path: Path, text: bytes) -> bool:
    try:
        return path.is_file() and path.read_bytes() == text
    except OSError:
        return False
