"""Numerical checks of a study: a stationary chain, a memory that contracts, a memory that is not always zero.

Source: docs/model.md sections 1 and 4. Everything here is float64 NumPy on samples that a fixed seed draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array
from rnnlimits.chains.paths import contraction, kernel_chain
from rnnlimits.chains.sections import CoupledMatrices, CoupledTanh, FiniteState, LinearGaussian, Recorded
from rnnlimits.chains.series import load_series, series_path
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.kernels.problem import GaussianChain
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.stationary import second_modulus

SEED = 1  # of the samples drawn here, which decide nothing but whether a study is accepted
SAMPLES = 256  # inputs x at which the memory map is looked at
BURN_IN = 200
LYAPUNOV_STEPS = 2000
STANDARD_ERRORS = 4.0  # an exponent is clearly negative if this many of them below -MARGIN
MARGIN = 1e-3
MEMORY_POINTS = 17  # memories m at which its slope is looked at
MOST_FEATURES = 2000
MOST_GIB = 0.5  # of all blocks' second moments together; merging them takes about four times as much
ZERO = 1e-9  # below this a memory is rounding


@dataclass(frozen=True)
class Verdict:
    """Whether something holds, and the words that say why."""

    holds: bool
    words: str


def check(study: Study) -> list[str]:
    """Findings of all numerical checks, one readable line each.

    Raises StudyError for a covariance that is none, a recorded series that cannot be used, a memory that is
    always zero; and for a chain or memory map that does not contract unless study.allow_noncontracting, which
    turns that refusal into a finding.
    """
    law = ParameterLaw.of(study)
    require_moderate(study)
    chain = check_chain(study)
    inputs = sample_inputs(study)
    check_some_memory(study, law, inputs)
    memory = memory_contraction(law, inputs)
    return [*chain, _accept(study, "network.b", memory, "use a smaller offset, slope or noise")]


def require_moderate(study: Study) -> None:
    """Raises StudyError for a study whose second moments of features would not fit in memory."""
    size = 1 + study.dimension
    features = study.limit.nodes * size
    gib = 8 * features**2 * study.draws.blocks / 2**30
    if features > MOST_FEATURES:
        raise StudyError(
            f"{study.source}: limit.nodes is {study.limit.nodes}, which makes {features} features of {gib:.2g} GiB;"
            f" allowed: at most {MOST_FEATURES // size} nodes for inputs of dimension {study.dimension}"
        )
    if gib > MOST_GIB:
        raise StudyError(
            f"{study.source}: draws.blocks is {study.draws.blocks}, which makes {gib:.2g} GiB with {features} features;"
            f" allowed: at most {int(MOST_GIB * 2**30) // (8 * features**2)} blocks"
        )


def check_chain(study: Study) -> list[str]:
    """Findings about the chain alone. Raises StudyError as `check` does."""
    chain = study.chain
    if isinstance(chain, Recorded):
        return [_check_series(chain, study)]
    if isinstance(chain, LinearGaussian):
        kernel_chain(study)  # a q that is no covariance is refused for itself, whatever a is
        return [_accept(study, "chain.a", linear_contraction(chain), "use a smaller a")]
    if isinstance(chain, CoupledTanh):
        return [_accept(study, "chain", coupled_contraction(chain), "use smaller a, b, c or e")]
    return [_accept(study, "chain.transition", finite_mixing(chain), "make one aperiodic class of it")]


def _accept(study: Study, key: str, verdict: Verdict, remedy: str) -> str:
    if verdict.holds or study.allow_noncontracting:
        return verdict.words
    raise StudyError(
        f"{study.source}: {key}: {verdict.words}; {remedy}, or set allow_noncontracting: true to run it anyway"
    )


# --- chains ------------------------------------------------------------------------------------------------


def linear_contraction(chain: LinearGaussian) -> Verdict:
    """H' = A H + noise is stationary exactly if the spectral radius of A is below 1."""
    radius = contraction(chain)
    return _below_one(radius, f"the chain's spectral radius is {radius:.4g}", "the chain does not contract")


def coupled_contraction(chain: CoupledTanh) -> Verdict:
    """Contraction of the coupled-tanh chain under common noise.

    A bound below 1 on its growth is enough. Where that bound fails, the top Lyapunov exponent of the chain decides,
    by simulation.
    """
    radius = contraction(chain)
    if radius < 1:
        return Verdict(True, f"the chain contracts: its Lipschitz matrix has spectral radius {radius:.4g}")
    mean, error = lyapunov_exponent(chain.matrices())
    if not np.isfinite(mean):
        return Verdict(False, "the chain does not contract: its paths grow without bound")
    words = f"the chain's top Lyapunov exponent is {mean:.3g} +- {error:.2g}"
    if mean + STANDARD_ERRORS * error < -MARGIN:
        return Verdict(True, f"{words} per step: it contracts (by simulation; the Lipschitz bound is {radius:.4g})")
    return Verdict(False, f"the chain does not contract: {words}, allowed: clearly below 0")


def finite_mixing(chain: FiniteState) -> Verdict:
    """One stationary law and convergence to it: exactly one eigenvalue of modulus 1."""
    second = second_modulus(chain.arrays()[0])
    return _below_one(
        second,
        f"the chain's second eigenvalue has modulus {second:.4g}",
        "the chain does not mix: it falls into several classes, or is periodic",
    )


def _below_one(size: float, words: str, refusal: str) -> Verdict:
    if size < 1 - ZERO:
        return Verdict(True, words)
    return Verdict(False, f"{refusal}: {words}, allowed: below 1")


def lyapunov_exponent(matrices: CoupledMatrices, chains: int = 64) -> tuple[float, float]:
    """Top Lyapunov exponent per step of a coupled-tanh chain and its standard error over independent chains.

    A chain that overflows counts as exponent +inf.
    """
    rng = np.random.default_rng(SEED)
    size = len(matrices.s)
    tangent = rng.standard_normal((chains, 2 * size))
    growth = np.zeros(chains)
    with np.errstate(over="ignore", invalid="ignore"):
        for step, (x, z) in enumerate(coupled_path(matrices, chains, BURN_IN + LYAPUNOV_STEPS, rng)):
            tangent = push_tangent(matrices, x, z, tangent)
            length = np.linalg.norm(tangent, axis=1)
            # A tangent can vanish exactly (a nilpotent chain); the smallest number stands for it.
            length = np.maximum(length, np.finfo(np.float64).tiny)
            tangent = tangent / length[:, None]
            growth += np.log(length) * (step >= BURN_IN)
    if not np.isfinite(growth).all():
        return float("inf"), 0.0
    rates = growth / LYAPUNOV_STEPS
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(chains))


def push_tangent(matrices: CoupledMatrices, x: Array, z: Array, tangent: Array) -> Array:
    """One step of the chain's derivative along tangents (chains, 2 d) at states x, z (chains, d)."""
    size = x.shape[1]
    dx, dz = tangent[:, :size], tangent[:, size:]
    to_x = dx @ matrices.a.T + (dz / np.cosh(z) ** 2) @ matrices.b.T
    to_z = dz @ matrices.c.T + (dx * np.cos(x)) @ matrices.e.T
    return np.concatenate([to_x, to_z], axis=1)


def coupled_path(
    matrices: CoupledMatrices, chains: int, steps: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """States (x, z), each (chains, d), of independent coupled-tanh chains that start at 0."""
    x = z = np.zeros((chains, len(matrices.s)))
    for _ in range(steps):
        yield x, z
        xi, zeta = rng.standard_normal((2, *x.shape))
        x, z = (
            x @ matrices.a.T + np.tanh(z) @ matrices.b.T + matrices.s * xi,
            z @ matrices.c.T + np.sin(x) @ matrices.e.T + matrices.r * zeta,
        )


def _check_series(chain: Recorded, study: Study) -> str:
    series = load_series(chain, study.source)
    rows = len(series.x)
    if study.probes.length > rows:
        raise StudyError(
            f"{study.source}: probes.length is {study.probes.length}; allowed: at most {rows}, the rows of {chain.file}"
        )
    return f"{series_path(chain, study.source)}: {rows} rows of {', '.join(chain.columns)}"


# --- memory ------------------------------------------------------------------------------------------------


def check_some_memory(study: Study, law: ParameterLaw, inputs: Array) -> None:
    """Refuse a limit memory that is 0 whatever the input: a study about nothing.

    Zero is a fixed point at every input if F(x, 0) = 0. Source: docs/model.md section 2.
    """
    if not always_zero(law) and np.abs(law.memory_map(inputs, np.zeros(len(inputs)))).max() > ZERO:
        return
    why = "the limit memory is 0 for every input"
    if ACTIVATIONS[study.network.activation].odd:
        why += f": {study.network.activation} is odd, and B does not depend on W nor has W a mean"
    raise StudyError(f"{study.source}: network: {why}; give network.b.slope (with std > 0) or network.w.mean")


def always_zero(law: ParameterLaw) -> bool:
    """Whether symmetry alone makes F(x, 0) = 0; quasi-random nodes would show this only up to their error."""
    centred = ACTIVATIONS[law.activation].odd and not law.mean.any()
    return law.slope == 0 and (law.offset == 0 or centred)


def memory_contraction(law: ParameterLaw, inputs: Array) -> Verdict:
    """sup |dF/dm| over sampled inputs (n, d) and the memories that the map can reach.

    The interval starts from the bound E|B| sup|sigma| and is narrowed by applying the map to it.
    """
    memories = np.linspace(-law.memory_bound, law.memory_bound, MEMORY_POINTS)
    for _ in range(3):
        reached = law.memory_map(inputs[:, None, :], memories[None, :])
        memories = np.linspace(reached.min(), reached.max(), MEMORY_POINTS)
    slope = float(np.abs(law.memory_slope(inputs[:, None, :], memories[None, :])).max())
    interval = f"memories in [{memories[0]:.3g}, {memories[-1]:.3g}]"
    if slope < 1 - ZERO:
        return Verdict(True, f"the memory map contracts: |dF/dm| is at most {slope:.4g}, {interval}")
    return Verdict(False, f"the memory map does not contract: |dF/dm| reaches {slope:.4g}, allowed: below 1")


def sample_inputs(study: Study) -> Array:
    """About SAMPLES inputs x (n, d) that look like the chain's stationary law."""
    chain = study.chain
    if isinstance(chain, Recorded):
        x = load_series(chain, study.source).x
        return x[:: max(1, len(x) // SAMPLES)]
    if isinstance(chain, FiniteState):
        return chain.arrays()[1]
    rng = np.random.default_rng(SEED)
    with np.errstate(over="ignore", invalid="ignore"):
        x = _last_coupled(chain, rng) if isinstance(chain, CoupledTanh) else _last_linear(kernel_chain(study), rng)
    # A chain that does not contract, and is allowed not to, may have run away.
    return np.clip(np.nan_to_num(x), -1e6, 1e6)


def _last_coupled(chain: CoupledTanh, rng: np.random.Generator) -> Array:
    *_, (x, _) = coupled_path(chain.matrices(), SAMPLES, BURN_IN, rng)
    return x


def _last_linear(chain: GaussianChain, rng: np.random.Generator) -> Array:
    h = np.zeros((SAMPLES, chain.size))
    for _ in range(BURN_IN):
        h = h @ chain.linear.T + rng.standard_normal(h.shape) @ chain.noise.T
    return h[:, : chain.inputs]
