"""Origin of the rates, and the hardware and software that computed the networks."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlimits.files.provenance import SOFTWARE
from rnnlimits.files.reading import attribute_of, open_complete
from rnnlimits.report.cost import Cost
from rnnlimits.training.layout import Layout

SHOWN = {
    "git_commit": "Commit",
    "python": "Python",
    "numpy": "NumPy",
    "command_line": "Command",
    "created": "Rates written",
}


def provenance(layout: Layout, spent: Sequence[Cost]) -> list[tuple[str, str]]:
    """Labels and values of the origin of rates and networks. Raises StudyError for an invalid file."""
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
