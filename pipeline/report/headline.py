"""One sentence that summarises the measurement and its result."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlimits.plan.parts import Experiment, ensembles
from rnnlimits.report.numbers import grouped
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import VERDICTS


def headline(experiment: Experiment, rates: Sequence[Rate]) -> str:
    """One sentence of what was measured and what came out. rates: without those of single probes."""
    judged = [rate for rate in rates if rate.verdict != "no prediction"]
    if not judged:
        return f"{_measured(experiment)}; none of {len(rates)} rates has a prediction to be compared with."
    count = {verdict: sum(rate.verdict == verdict for rate in judged) for verdict in VERDICTS}
    parts = [f"{count['as predicted']} are as predicted", f"{count['not as predicted']} are not"]
    if count["cannot tell"]:
        parts.append(f"for {count['cannot tell']} the data cannot tell")
    told = f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 2 else " and ".join(parts)
    return f"{_measured(experiment)}: of {len(judged)} rates and constants with a prediction, {told}."


def _measured(experiment: Experiment) -> str:
    count = grouped(sum(ensemble.replicas for ensemble in ensembles(experiment.packs())))
    return experiment.measured(count)
