"""Numerical checks of a study: a stationary chain, a memory that contracts, a memory that is not always zero.

Source: docs/model.md sections 1 and 4. Everything here is float64 NumPy on inputs that the chain gives as samples.
"""

from __future__ import annotations

import numpy as np

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Array
from rnnlimits.chains.base import Verdict
from rnnlimits.kernels.activations import ACTIVATIONS
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw

ZERO = 1e-9  # a smaller memory is rounding error; a slope less than this below 1 counts as 1
LEAST_INPUT = 1e-6  # smaller inputs leave a memory that is no larger than rounding error
MEMORY_POINTS = 17  # values of the memory m at which the slope is evaluated
MOST_FEATURES = 2000
MOST_GIB = 0.5  # of all blocks' second moments together; merging them takes about four times as much


def check(study: Study) -> list[str]:
    """Findings of all numerical checks, one readable line each.

    Raises StudyError for an invalid covariance, a recorded series that cannot be used, and a memory that is always
    zero. Raises it for a chain or memory map that does not contract, too, unless study.allow_noncontracting is set,
    which turns that refusal into a finding.
    """
    law = ParameterLaw.of(study)
    require_moderate(study)
    chain = check_chain(study)
    inputs = study.chain.sample_inputs(study.source)
    check_some_memory(study, law, inputs)
    memory = memory_contraction(law, inputs)
    return [*chain, _accept(study, memory)]


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
    """The finding about the chain alone. Raises StudyError as `check` does."""
    verdict = study.chain.contraction(study.source)
    series = study.chain.series(study.source)
    if series is not None and study.probes.length > len(series.x):
        raise StudyError(
            f"{study.source}: probes.length is {study.probes.length}; allowed: at most {len(series.x)},"
            f" the rows of {series.file}"
        )
    return [_accept(study, verdict)]


def _accept(study: Study, verdict: Verdict) -> str:
    if verdict.holds or study.allow_noncontracting:
        return verdict.words
    raise StudyError(
        f"{study.source}: {verdict.key}: {verdict.words}; {verdict.remedy},"
        " or set allow_noncontracting: true to run it anyway"
    )


# --- memory ------------------------------------------------------------------------------------------------


def check_some_memory(study: Study, law: ParameterLaw, inputs: Array) -> None:
    """Refuse a limit memory that is 0 whatever the input: such a study would measure nothing.

    Zero is a fixed point at every input if F(x, 0) = 0. Source: docs/model.md section 2.
    """
    if not always_zero(law) and np.abs(law.memory_map(inputs, np.zeros(len(inputs)))).max() > ZERO:
        return
    size = float(np.abs(inputs).max())
    if 0 < size < LEAST_INPUT and not always_zero(law):
        what = (
            "chain.standardize: true, or data in another unit" if study.chain.series(study.source) else "larger inputs"
        )
        raise StudyError(
            f"{study.source}: chain: its inputs are at most {size:.3g}, so that the limit memory is 0; give {what}"
        )
    why = "the limit memory is 0 for every input"
    if ACTIVATIONS[study.activation].odd:
        why += f": {study.network.activation} is odd, and B does not depend on W nor has W a mean"
    raise StudyError(f"{study.source}: network: {why}; give network.b.slope (with std > 0) or network.w.mean")


def always_zero(law: ParameterLaw) -> bool:
    """Whether symmetry alone implies F(x, 0) = 0; quasi-random nodes would show this only up to their error."""
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
    words = f"the memory map does not contract: |dF/dm| reaches {slope:.4g}, allowed: below 1"
    return Verdict(False, words, "network.b", "use a smaller offset, slope or noise")
