"""One sentence that summarises the measurement and its result."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnlimits.plan.parts import Experiment, ensembles
from rnnlimits.report.numbers import grouped
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import VERDICTS


def headline(experiment: Experiment, rates: Sequence[Rate]) -> str:
    """One sentence of what was measured and what came out. rates: without those of single probes."""
    judged = [rate for rate in rates if not math.isnan(rate.expected)]
    if not judged:
        return f"{_measured(experiment)}; none of {len(rates)} rates has an expected value to be compared with."
    count = {verdict: sum(rate.verdict == verdict for rate in judged) for verdict in VERDICTS}
    parts = [f"{count['consistent']} agree with it", f"{count['inconsistent']} do not"]
    if count["undetermined"]:
        parts.append(f"for {count['undetermined']} the data cannot tell")
    told = f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 2 else " and ".join(parts)
    return f"{_measured(experiment)}: of {len(judged)} rates and constants with an expected value, {told}."


def _measured(experiment: Experiment) -> str:
    count = grouped(sum(ensemble.replicas for ensemble in ensembles(experiment.packs())))
    return experiment.measured(count)
