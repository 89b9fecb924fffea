"""An atlas: one study in many variants, run one after the other, and one table and figure of all their exponents.

The file has a name, a `base` study without name, and `variants`: for each a mapping that is laid over the base.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import Study
from rnnlimits.study.text import parse
from rnnlimits.training.layout import Layout

KEYS = ("name", "base", "variants")


@dataclass(frozen=True)
class Atlas:
    """A name and its studies, by variant."""

    name: str
    source: Path
    studies: Mapping[str, Study]

    def root(self, results: Path) -> Path:
        """Where the atlas' own files go; its studies lie beside it."""
        return results / self.name


def load(path: Path) -> Atlas:
    """Read an atlas and check all its studies. Raises StudyError, one line, for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}; give an atlas file") from error
    raw: Any = parse(text, str(path))
    _check_shape(path, raw)
    found = {}
    for variant, changes in raw["variants"].items():
        values = merged(raw["base"], changes or {})
        text = yaml.safe_dump({"name": f"{raw['name']}-{variant}", **values}, sort_keys=False)
        try:
            found[str(variant)] = studies.loads(text, path)
        except StudyError as error:
            raise StudyError(f"{error} (variant {variant})") from error
    return Atlas(raw["name"], path, found)


def _check_shape(path: Path, raw: Any) -> None:
    if not isinstance(raw, dict) or sorted(raw) != sorted(KEYS):
        found = ", ".join(map(str, raw)) if isinstance(raw, dict) else "no mapping"
        raise StudyError(f"{path}: has {found}; an atlas has exactly {', '.join(KEYS)}")
    if not isinstance(raw["name"], str) or not isinstance(raw["base"], dict) or not isinstance(raw["variants"], dict):
        raise StudyError(f"{path}: name must be text, base and variants mappings")
    if not raw["variants"]:
        raise StudyError(f"{path}: variants is empty; give at least one")
    wrong = [str(name) for name, changes in raw["variants"].items() if not isinstance(changes, dict | None)]
    if wrong:
        raise StudyError(f"{path}: variants.{wrong[0]} is no mapping; allowed: keys of a study, laid over base")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over`: mappings of one kind are laid over one another, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind") in (None, old.get("kind")):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def write_studies(atlas: Atlas, results: Path) -> dict[str, Path]:
    """Each study as a file of its own, which can be submitted by itself; returns their paths by variant."""
    folder = atlas.root(results) / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for variant, study in atlas.studies.items():
        paths[variant] = folder / f"{study.name}.yaml"
        durable.write_bytes(paths[variant], studies.to_yaml(study, folder).encode())
    return paths


def rates(atlas: Atlas, results: Path) -> dict[str, list[Rate]]:
    """The rates of every variant. Raises StudyError for one that has not run."""
    found = {}
    for variant, study in atlas.studies.items():
        path = Layout.of(study, results).rates_h5
        if not path.exists():
            raise StudyError(f"{path}: is missing; run: rnnlimits atlas {atlas.source} --results {results}")
        found[variant] = ratefile.read(path)
    return found


def write_table(atlas: Atlas, results: Path, found: Mapping[str, list[Rate]]) -> Path:
    """All rates in one CSV file: a column `variant`, then those of rates.csv. Returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", *ratefile.COLUMNS])
    for variant, members in found.items():
        writer.writerows([variant, *ratefile.cells(rate)] for rate in members)
    path = atlas.root(results) / "atlas.csv"
    durable.write_bytes(path, text.getvalue().encode())
    return path


def table(found: Mapping[str, list[Rate]]) -> str:
    """Exponents with half their intervals, a line for each quantity and beta, a column for each variant."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for variant, members in found.items():
        for rate in members:
            key = (f"{rate.quantity} ({rate.estimator})", rate.variable, rate.at)
            rows.setdefault(key, {})[variant] = _number(rate)
    header = ["quantity", "in", "at", *found]
    lines = [header, *([*key, *(row.get(variant, "") for variant in found)] for key, row in rows.items())]
    sizes = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(line, sizes, strict=True)).rstrip() for line in lines
    )


def _number(rate: Rate) -> str:
    """p+-half, marked where it excludes (!) or cannot tell (?) what is expected; - for no rate."""
    if math.isnan(rate.exponent) or rate.refused:
        return "-"
    mark = {"consistent": "", "inconsistent": "!"}.get(rate.verdict, "?")
    return f"{rate.exponent:.3f}±{0.5 * (rate.ci_high - rate.ci_low):.3f}{mark}"
