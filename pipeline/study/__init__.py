"""The study file: typed, frozen, every unknown key refused."""

from __future__ import annotations

from rnnlimits.study.base import AnyStudy
from rnnlimits.study.elman import RntkStudy
from rnnlimits.study.model import Study, json_schema, load, load_any, loads, loads_any, to_yaml

__all__ = ["AnyStudy", "RntkStudy", "Study", "json_schema", "load", "load_any", "loads", "loads_any", "to_yaml"]
