"""What lies in the memory of a device: the words of its structs, and whether all of it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from rnnlimits.kernels.cuda_runtime import USABLE, Runtime
from rnnlimits.kernels.interface import KernelError


@dataclass(frozen=True)
class Layout:
    """Numbers of words in struct Unit, ReplicaState and Sums of src/, and where a unit's weights lie (src/layout.h)."""

    unit: int
    state: int
    sums: int
    w_start: int
    w_drift: int
    c_start: int
    c_drift: int
    b_start: int
    b_drift: int
    weight: int  # -1 for networks


def layouts(runtime: Runtime, source: str, name: str, macros: Mapping[str, object], count: int = 1) -> list[Layout]:
    """The layouts that program `name` of src/ reports, `count` of them."""
    length = len(fields(Layout))
    out = runtime.xp.zeros(count * length, dtype=np.int64)
    runtime.program(source, name, macros)((1,), (1,), (out,))
    return [Layout(*(int(value) for value in one)) for one in runtime.to_host(out).reshape(count, length)]


def require_room(runtime: Runtime, one: int, count: int, what: str, things: str, advice: tuple[str, str]) -> None:
    """Raises KernelError if `count` things of `one` bytes each do not fit into the device's free memory.

    advice: what to do if fewer would fit, and if not even one does.
    """
    usable = int(USABLE * runtime.free_bytes())
    if one * count <= usable:
        return
    fit = usable // one
    told = f"{fit} would fit: {advice[0]}" if fit else f"not even one fits: {advice[1]}"
    raise KernelError(
        f"{what}: {count} {things} need {one * count / 2**30:.3g} GiB of GPU memory, "
        f"{usable / 2**30:.3g} GiB are available; {told}"
    )
