"""The registry of activations: those of this folder's modules, and those that installed packages offer.

A module defines ACTIVATION (see base.py); no other file has to be changed. A package offers its own by an entry point
of the group `rnnlimits.activations` that names an Activation. A program may `register` one before it imports studies.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from importlib.metadata import entry_points

from rnnlimits.kernels import compiler
from rnnlimits.kernels.activations.base import Activation
from rnnlimits.kernels.interface import KernelError

__all__ = ["ACTIVATIONS", "Activation", "register", "source_digest"]

GROUP = "rnnlimits.activations"
DEFAULT = "tanh"
ACTIVATIONS: dict[str, Activation] = {}


def register(activation: Activation) -> None:
    """Add an activation. Raises KernelError: not an Activation, a name that is taken or is not an identifier."""
    if not isinstance(activation, Activation):
        raise KernelError(f"activation {activation!r} is not a rnnlimits.kernels.activations.Activation")
    if not activation.name.isidentifier() or activation.name in ACTIVATIONS:
        raise KernelError(f"activation {activation.name!r}: the name is taken or is not an identifier; choose another")
    ACTIVATIONS[activation.name] = activation


def source_digest() -> str:
    """Twelve hexadecimal digits over all files of src/ and the C++ of all activations."""
    texts = (compiler.source_digest(), *(one.source for one in ACTIVATIONS.values() if one.source))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _module_names() -> list[str]:
    """The modules of this folder, the default of studies first."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "base"]
    return sorted(names, key=lambda name: (name != DEFAULT, name))


for _name in _module_names():
    register(importlib.import_module(f"{__name__}.{_name}").ACTIVATION)
for _point in entry_points(group=GROUP):
    register(_point.load())
