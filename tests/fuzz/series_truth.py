"""What a study must read from a recorded series, computed from the numbers that were written, not from the file."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from draws import OK, REFUSED, Draw, Fault, command, judged, refusal
from numpy.typing import NDArray

from rnnlimits.chains.recorded import Recorded
from rnnlimits.chains.series import Series, load_series

Array = NDArray[np.float64]
READ, EITHER, REFUSE = range(3)  # what is promised of an input: it is read; read or refused; refused
NEARLY_CONSTANT = 1e-9  # spread over size, below which standardising is a matter of taste
STUDY = {
    "name": "drawn",
    "network": {"b": {"offset": 0.2, "slope": 0.6}},
    "training": {"beta": [0.75], "width": [4], "replicas": 4, "replicas_per_block": 4},
}


@dataclass
class Truth:
    """Columns as they were written, NaN where a value is missing; the promise, and what a refusal must name."""

    columns: dict[str, Array]
    promise: int = READ
    named: tuple[str, ...] = ()

    def worse(self, promise: int, *named: str) -> None:
        """Lower the promise; the names count only where there is nothing else to complain about."""
        self.named = named if self.promise == READ else ()
        self.promise = max(self.promise, promise)


def chain_of(draw: Draw, path: Path, used: list[str]) -> dict[str, object]:
    """The section `chain` of a study that reads these columns; the last of them may be the target only."""
    columns, target = (used, draw.choice("target", used)) if draw.random.random() < 0.5 else (used[:1], used[-1])
    standardize = draw.choice("standardize", [True, False])
    lead = draw.random.randint(1, 3)
    return {
        "kind": "recorded", "file": path.name, "columns": columns, "target_column": target,
        "standardize": standardize, "lead": lead,
    }  # fmt: skip


def judge(draw: Draw, path: Path, chain: dict[str, object], truth: Truth) -> str:
    """Read the series as a study does, and compare; then `rnnlimits check`, whose exit code must not contradict it."""
    study = draw.folder / "drawn.yaml"
    study.write_text(yaml.safe_dump({**STUDY, "chain": chain}, allow_unicode=True), encoding="utf-8")
    found: list[Series] = []
    line = refusal(lambda: found.append(load_series(Recorded.model_validate(chain), study)), path.name)
    checked = judged(command(draw.folder, "check", study))
    if line is not None:
        return _refused(line, truth, checked)
    if truth.promise == REFUSE:
        raise Fault("was read, though it must be refused")
    _require_same(found[0], Recorded.model_validate(chain), truth)
    return OK


def _refused(line: str, truth: Truth, checked: str) -> str:
    if checked == OK:
        raise Fault(f"check is content, but the series is refused: {line}")
    if truth.promise == READ:
        raise Fault(f"was refused, though it must be read: {line}")
    for name in truth.named if truth.promise == REFUSE else ():
        if name not in line:
            raise Fault(f"the refusal does not name {name!r}: {line}")
    return REFUSED


def _require_same(series: Series, chain: Recorded, truth: Truth) -> None:
    names = list(dict.fromkeys([*chain.columns, chain.target]))
    if missing := [name for name in names if not np.isfinite(truth.columns[name]).all()]:
        raise Fault(f"missing values of {missing[0]!r} were read as numbers")
    rows = {name: truth.columns[name] for name in names}
    if not chain.standardize:
        x = np.stack([rows[name] for name in chain.columns], axis=1)
        y = np.roll(rows[chain.target], -chain.lead)
        if series.digest != digest(x, y):
            raise Fault(f"other values were read: {series.x.ravel()[:4]}, written {x.ravel()[:4]}")
        return
    for index, name in enumerate(chain.columns):
        _require_standard(series.x[:, index], rows[name], name)
    _require_standard(series.y, np.roll(rows[chain.target], -chain.lead), chain.target)


def _require_standard(found: Array, written: Array, name: str) -> None:
    """Both are compared at a scale of their own, so that no square overflows or vanishes."""
    scaled = np.ldexp(written, -math.frexp(float(np.abs(written).max()))[1]).astype(np.longdouble)
    mean, spread = scaled.mean(), scaled.std()
    if spread == 0:
        raise Fault(f"the column {name!r} is constant, and was standardised")
    if spread < NEARLY_CONSTANT:
        return
    expected = (scaled - mean) / spread
    if not np.abs(found - expected).max() <= 1e-12 * (1 + float(abs(mean) / spread)):
        raise Fault(f"{name!r} was standardised to {found[:3]}, right is {expected[:3].astype(float)}")


def digest(x: Array, y: Array) -> str:
    """SHA-256 over the shape of x and the values of x and y, as docs/format.md has it for a chain's identity."""
    values = (np.ascontiguousarray(part, dtype="<f8").tobytes() for part in (x, y))
    return hashlib.sha256(str(x.shape).encode() + b"".join(values)).hexdigest()
