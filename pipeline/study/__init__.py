"""The study file: typed, frozen, every unknown key refused. One module for each section of the file."""

from __future__ import annotations

from pipeline.study.model import Study, json_schema, load, loads, to_yaml

__all__ = ["Study", "json_schema", "load", "loads", "to_yaml"]
