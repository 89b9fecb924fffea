"""Measure how fast a wide recurrent network, trained online, converges to its kernel limit.

The public names below are all there is to import (docs/library.md); everything else may move. They
are imported when they are first used: `import rnnlimits` takes milliseconds, and nothing here but
`run_study` starts MPI or writes a file.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnlimits.base.errors import StudyError as StudyError
    from rnnlimits.library import rntk as rntk
    from rnnlimits.library.data import paths as paths
    from rnnlimits.library.limits import Limit as Limit
    from rnnlimits.library.limits import limit as limit
    from rnnlimits.library.predictions import predict as predict
    from rnnlimits.library.predictions import rich_twin as rich_twin
    from rnnlimits.library.results import Results as Results
    from rnnlimits.library.results import open as open
    from rnnlimits.library.studies import RntkStudy as RntkStudy
    from rnnlimits.library.studies import Study as Study
    from rnnlimits.library.studies import load as load
    from rnnlimits.library.trainings import train as train
    from rnnlimits.library.trainings import twin as twin
    from rnnlimits.library.workflow import run_study as run_study

__version__ = "0.1.0"
__all__ = [
    "Limit",
    "Results",
    "RntkStudy",
    "Study",
    "StudyError",
    "__version__",
    "limit",
    "load",
    "open",
    "paths",
    "predict",
    "rich_twin",
    "rntk",
    "run_study",
    "train",
    "twin",
]

_HOMES = {
    "Limit": "library.limits",
    "Results": "library.results",
    "RntkStudy": "library.studies",
    "Study": "library.studies",
    "StudyError": "base.errors",
    "limit": "library.limits",
    "load": "library.studies",
    "open": "library.results",
    "paths": "library.data",
    "predict": "library.predictions",
    "rich_twin": "library.predictions",
    "run_study": "library.workflow",
    "train": "library.trainings",
    "twin": "library.trainings",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used (PEP 562)."""
    if name == "rntk":
        value: Any = import_module(f"{__name__}.library.rntk")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
