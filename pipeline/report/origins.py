"""Origin of the rates, and the hardware and software that computed the networks."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlimits.files.provenance import SOFTWARE
from rnnlimits.files.reading import attribute_of, open_complete
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.report.cost import Cost

SHOWN = {
    "git_commit": "Commit",
    "python": "Python",
    "numpy": "NumPy",
    "command_line": "Command",
    "created": "Rates written",
}


def provenance(layout: StudyFolder, spent: Sequence[Cost]) -> list[tuple[str, str]]:
    """Where the rates come from, and what computed the networks. Raises StudyError for a file at fault."""
    keys = (*SOFTWARE, "backend", "study_id", "seed", "precision")
    with open_complete(layout.rates_h5, "rates") as file:
        attributes = {key: str(value) if (value := attribute_of(file, key)) is not None else "unknown" for key in keys}
    backends = sorted({name for cost in spent for name in cost.backends})
    devices = sorted({name for cost in spent for name in cost.devices})
    return [
        ("Software", f"rnnlimits {attributes['software_version']}"),
        *((label, attributes[key]) for key, label in SHOWN.items()),
        ("Rates computed by", attributes["backend"]),
        ("Networks computed by", ", ".join(backends) or "unknown"),
        ("On", ", ".join(devices) or "unknown"),
        ("Study identity", attributes["study_id"]),
        ("Seed", attributes["seed"]),
        ("Precision", attributes["precision"]),
    ]
