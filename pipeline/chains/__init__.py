"""Markov chains that drive a study: their keys, their paths, recorded series."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from rnnlimits.chains.base import Chain, kinds, register
from rnnlimits.chains.noise_driven import NoiseDriven
from rnnlimits.chains.own_step import OwnStep

__all__ = ["Chain", "NoiseDriven", "OwnStep", "kinds", "register"]

# The order of kinds in the schema and in messages; kinds in further files follow by name.
_FIRST = ("linear_gaussian", "coupled_tanh", "finite_state", "recorded", "python_step")
_LATE = ("series",)  # imported only when a series is read: importing h5py takes time

for _name in dict.fromkeys([*_FIRST, *sorted(module.name for module in iter_modules(__path__))]):
    if _name not in _LATE:
        import_module(f"{__name__}.{_name}")
