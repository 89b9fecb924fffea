"""What the step of a user's own file must fulfil: shapes, finite values, no memory of calls, independent rows.

It is tried on states that it reaches itself, once in a process. A chain must also forget its start: by the file's own
bound `lipschitz`, which is compared with pairs of states, or else by its top Lyapunov exponent, by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rnnlimits.base import ownfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array
from rnnlimits.base.ownfiles import OwnFile
from rnnlimits.chains import base
from rnnlimits.chains.base import Verdict
from rnnlimits.chains.own_step import ROWS, sample_states

NEEDED = "chain.kind python needs a function step(h, xi)"
ALLOWED = "a finite number, 0 or above"
LYAPUNOV_STEPS = 500
MEETING_STEPS = 2000  # at most, in which two paths with the same noise have to meet
MEETING = 1e-3  # the part of their distance that may then be left
NUDGE = 1e-6  # distance over which the growth of small distances is measured
STANDARD_ERRORS = 4.0  # an exponent is clearly negative if it is this many standard errors below -MARGIN
MARGIN = 1e-3
ROUNDING = 1e-6  # relative, in the comparison of a bound with distances


@dataclass(frozen=True)
class FileStep:
    """The step of a file, see own_step.Stepped. bound: the file's `lipschitz`, None if it does not have one."""

    file: OwnFile
    dimension: int
    hidden: int
    normals: int
    function: Callable[[Array, Array], Any]
    first: tuple[float, ...]
    bound: float | None
    kind: str = "python"

    def start(self) -> Array:
        """The state in which the burn-in starts."""
        return np.array(self.first, dtype=np.float64)

    def step(self, h: Array, xi: Array) -> Array:
        """The next states (n, d + dz) of h (n, d + dz) with normals xi (n, normals).

        Raises StudyError for whatever the function raises, and for another shape or numbers that are not finite.
        """
        for argument in (h, xi):
            argument.flags.writeable = False
        try:
            found = np.asarray(self.function(h, xi))
        except Exception as error:
            raise ownfiles.failure(self.file, error) from error
        if found.shape != h.shape or found.dtype.kind not in "fiu":
            what = f"returns {found.dtype} of shape {found.shape} for h {h.shape} and xi {xi.shape}"
            raise self.refused(what, f"real numbers of shape {h.shape}, the states after the step")
        if not np.isfinite(found).all():
            raise self.refused("returns values that are not finite", "finite states, however many steps are taken")
        return np.asarray(found, dtype=np.float64)

    def lipschitz(self) -> float:
        """The file's own bound, or the factor per step that was found by simulation."""
        return self.bound if self.bound is not None else factor(self)[0]

    def refused(self, what: str, allowed: str) -> StudyError:
        """The error to raise for a step that cannot be used."""
        return StudyError(f"{self.file.path}: step {what}; allowed: {allowed}")


@lru_cache(maxsize=8)
def checked(file: OwnFile, dimension: int, hidden: int, normals: int) -> FileStep:
    """The step of a file, tried. Raises StudyError, one line, for one that breaks the contract."""
    names = vars(ownfiles.module(file))
    if not callable(names.get("step")):
        found = "has no name step" if "step" not in names else "has a step that is not a function"
        raise StudyError(f"{file.path}: {found}; {NEEDED}")
    first = _first(file, names.get("start"), dimension + hidden)
    step = FileStep(file, dimension, hidden, normals, names["step"], first, _bound(file, names.get("lipschitz")))
    _try(step)
    return step


def _first(file: OwnFile, given: Any, size: int) -> tuple[float, ...]:
    if given is None:
        return (0.0,) * size
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    if values.shape != (size,) or not np.isfinite(values).all():
        words = " ".join(repr(given).split())[:60]
        raise StudyError(f"{file.path}: start is {words}; allowed: {size} finite numbers, one for each component of H")
    return tuple(float(value) for value in values)


def _bound(file: OwnFile, given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, int | float | np.number) and not isinstance(given, bool) and 0 <= float(given) < math.inf:
        return float(given)
    raise StudyError(f"{file.path}: lipschitz is {' '.join(repr(given).split())[:60]}; allowed: {ALLOWED}")


# --- the contract ----------------------------------------------------------------------------------------------


def _try(step: FileStep) -> None:
    """Raises StudyError for a step that remembers its calls, or whose rows depend on one another."""
    h = sample_states(step)
    rng = np.random.default_rng(base.SAMPLE_SEED)
    one, other = h[:ROWS], h[ROWS : 2 * ROWS]
    xi, further = rng.standard_normal((2, ROWS, step.normals))
    expected = step.step(one, xi)
    step.step(other, further)
    if not np.array_equal(step.step(one, xi), expected):
        raise step.refused(
            "returns other states for the same h and xi", "a function of h and xi alone, without random numbers"
        )
    rows = np.arange(ROWS) % 2 == 0
    mixed = step.step(np.where(rows[:, None], one, other), np.where(rows[:, None], xi, further))
    if not np.array_equal(mixed[rows], expected[rows]):
        raise step.refused("mixes its rows", "each row of the result depends only on the same row of h and xi")


def verdict(step: FileStep) -> Verdict:
    """Whether the chain forgets its start. Raises StudyError for a bound that a pair of states exceeds."""
    remedy = "use a step that contracts more"
    if step.bound is not None:
        _require_bound(step, step.bound)
        words = f"a step multiplies the distance of two paths with the same noise by at most {step.bound:.4g}"
        if step.bound < 1 - base.ZERO:
            return Verdict(True, f"the chain contracts: {words} (lipschitz of {step.file.path})")
        return Verdict(False, f"the chain is not known to contract: {words}, allowed: below 1", "chain", remedy)
    rate, mean, error = factor(step)
    words = f"the chain's top Lyapunov exponent is {mean:.3g} +- {error:.2g}"
    if rate >= 1:
        return Verdict(False, f"the chain does not contract: {words}, allowed: clearly below 0", "chain", remedy)
    steps = min(MEETING_STEPS, base.burn_in(rate))
    if (left := _left(step, steps)) > MEETING:
        words = f"{left:.2g} of the distance of two paths with the same noise is left after {steps} steps"
        return Verdict(False, f"the chain does not forget its start: {words}", "chain", remedy)
    return Verdict(True, f"{words} per step: it contracts (by simulation)")


def _require_bound(step: FileStep, bound: float) -> None:
    h = sample_states(step)
    xi = np.random.default_rng(base.SAMPLE_SEED).standard_normal((len(h), step.normals))
    for other in (h[::-1].copy(), h + NUDGE * (1 + np.abs(h))):
        ratio = _largest(step.step(h, xi) - step.step(other, xi), h - other)
        if ratio > bound * (1 + ROUNDING) + ROUNDING:
            path = step.file.path
            found = f"lipschitz is {bound:.4g}, but a step multiplied the distance of two states by {ratio:.4g}"
            raise StudyError(f"{path}: {found}; allowed: a bound for all states, or no name lipschitz")


@lru_cache(maxsize=8)
def factor(step: FileStep) -> tuple[float, float, float]:
    """Factor per step of small distances, rounded up; the top Lyapunov exponent and its standard error.

    The factor is 1 unless the exponent is clearly negative.
    """
    rng, h = np.random.default_rng(base.SAMPLE_SEED), sample_states(step)[:64]
    u = rng.standard_normal(h.shape)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    growth = np.zeros(len(h))
    for _ in range(LYAPUNOV_STEPS):
        xi = rng.standard_normal((len(h), step.normals))
        after, near = step.step(h, xi), step.step(h + NUDGE * u, xi)
        u = (near - after) / NUDGE
        length = np.maximum(np.linalg.norm(u, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        h, u, growth = after, u / length, growth + np.log(length[:, 0])
    rates = growth / LYAPUNOV_STEPS
    mean, error = float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates)))
    upper = mean + STANDARD_ERRORS * error
    return (math.ceil(1000 * math.exp(upper)) / 1000 if upper < -MARGIN else 1.0), mean, error


def _left(step: FileStep, steps: int) -> float:
    """The largest part of the distance of two independent states that is left after `steps` with the same noise."""
    rng, h = np.random.default_rng(base.SAMPLE_SEED), sample_states(step)
    one, other = h[: len(h) // 2], h[len(h) // 2 :]
    before = one - other
    for _ in range(steps):
        xi = rng.standard_normal((len(one), step.normals))
        one, other = step.step(one, xi), step.step(other, xi)
    return _largest(one - other, before)


def _largest(after: Array, before: Array) -> float:
    """The largest ratio of the lengths of rows."""
    above, below = np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1)
    return float((above[below > 0] / below[below > 0]).max(initial=0.0))
