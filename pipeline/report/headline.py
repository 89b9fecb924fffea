"""One sentence that summarises the measurement and its result."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnlimits.elman import plan as rntk_plan
from rnnlimits.report.numbers import grouped
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.statistics.verdicts import VERDICTS
from rnnlimits.study import AnyStudy, RntkStudy
from rnnlimits.training import plan


def headline(study: AnyStudy, rates: Sequence[Rate]) -> str:
    """One sentence that summarises the measurement and its result. rates: without those of single probes."""
    compared = [rate for rate in rates if not math.isnan(rate.expected)]
    if not compared:
        return f"{_measured(study)}; none of {len(rates)} rates has an expected value to be compared with."
    count = {verdict: sum(rate.verdict == verdict for rate in compared) for verdict in VERDICTS}
    parts = [f"{count['consistent']} agree with it", f"{count['inconsistent']} do not"]
    if count["undetermined"]:
        parts.append(f"{count['undetermined']} are undetermined")
    outcome = f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 2 else " and ".join(parts)
    return f"{_measured(study)}: of {len(compared)} rates and constants with an expected value, {outcome}."


def _measured(study: AnyStudy) -> str:
    cells = rntk_plan.cells(study) if isinstance(study, RntkStudy) else plan.cells(study)
    widths = sorted({cell.width for cell in cells})
    count = grouped(sum(cell.replicas for cell in cells))
    span = f"width {widths[0]}" if len(widths) == 1 else f"widths from {widths[0]} to {widths[-1]}"
    if isinstance(study, RntkStudy):
        return f"{count} Elman networks of {span} were compared with their kernels of infinite width"
    return f"{count} recurrent networks of {span} were trained online and compared with their kernel limit"
