"""An atlas: one study in many variants, run one after the other, with one table and one figure of all exponents.

The file has a name, a `base` study without a name, and `variants`: for each a mapping that overrides the base.
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
from rnnlimits.base.textfiles import read_utf8
from rnnlimits.files import durable
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import Study
from rnnlimits.study.text import parse
from rnnlimits.training.layout import Layout

KEYS = ("name", "base", "variants")


@dataclass(frozen=True)
class Atlas:
    """The name of an atlas, and its studies by variant."""

    name: str
    source: Path
    studies: Mapping[str, Study]

    def root(self, results: Path) -> Path:
        """The folder of the atlas' own files; the results of its studies lie next to it."""
        return results / self.name


def load(path: Path) -> Atlas:
    """Read an atlas and check all its studies. Raises StudyError, one line, for any error in it."""
    raw: Any = parse(read_utf8(path, "give an atlas file, which is UTF-8 text"), str(path))
    _check_shape(path, raw)
    variants = {}
    for variant, changes in raw["variants"].items():
        values = merged(raw["base"], changes or {})
        text = yaml.safe_dump({"name": f"{raw['name']}-{variant}", **values}, sort_keys=False)
        try:
            variants[str(variant)] = studies.loads(text, path)
        except StudyError as error:
            raise StudyError(f"{error} (variant {variant})") from error
    return Atlas(raw["name"], path, variants)


def _check_shape(path: Path, raw: Any) -> None:
    if not isinstance(raw, dict) or sorted(raw) != sorted(KEYS):
        keys = ", ".join(map(str, raw)) if isinstance(raw, dict) else "no mapping"
        raise StudyError(f"{path}: has {keys}; an atlas has exactly {', '.join(KEYS)}")
    if not isinstance(raw["name"], str) or not isinstance(raw["base"], dict) or not isinstance(raw["variants"], dict):
        raise StudyError(f"{path}: name must be text, base and variants mappings")
    if not raw["variants"]:
        raise StudyError(f"{path}: variants is empty; give at least one")
    wrong = [str(name) for name, changes in raw["variants"].items() if not isinstance(changes, dict | None)]
    if wrong:
        raise StudyError(f"{path}: variants.{wrong[0]} is not a mapping; allowed: keys of a study, which override base")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over`: mappings of the same kind are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind") in (None, old.get("kind")):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def write_studies(atlas: Atlas, results: Path) -> dict[str, Path]:
    """Write each study to its own file, which can be submitted separately; returns the paths by variant."""
    folder = atlas.root(results) / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for variant, study in atlas.studies.items():
        paths[variant] = folder / f"{study.name}.yaml"
        durable.write_bytes(paths[variant], studies.to_yaml(study, folder).encode())
    return paths


def rates(atlas: Atlas, results: Path) -> dict[str, list[Rate]]:
    """The rates of every variant. Raises StudyError for a variant that has not run, or has changed since."""
    by_variant = {}
    for variant, study in atlas.studies.items():
        path = Layout.of(study, results).rates_h5
        if not path.exists():
            raise StudyError(f"{path}: is missing; run: rnnlimits atlas {atlas.source} --results {results}")
        by_variant[variant] = ratefile.read(path, study_id=study.identity)
    return by_variant


def write_table(atlas: Atlas, results: Path, by_variant: Mapping[str, list[Rate]]) -> Path:
    """Write all rates to one CSV file: a column `variant`, then those of rates.csv. Returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", *ratefile.COLUMNS])
    for variant, members in by_variant.items():
        writer.writerows([variant, *ratefile.cells(rate)] for rate in members)
    path = atlas.root(results) / "atlas.csv"
    durable.write_bytes(path, text.getvalue().encode())
    return path


def table(by_variant: Mapping[str, list[Rate]]) -> str:
    """Exponents with half their intervals, a line for each quantity and beta, a column for each variant."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for variant, members in by_variant.items():
        for rate in members:
            key = (f"{rate.quantity} ({rate.estimator})", rate.variable, rate.at)
            rows.setdefault(key, {})[variant] = _number(rate)
    header = ["quantity", "in", "at", *by_variant]
    lines = [header, *([*key, *(row.get(variant, "") for variant in by_variant)] for key, row in rows.items())]
    sizes = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(line, sizes, strict=True)).rstrip() for line in lines
    )


def _number(rate: Rate) -> str:
    """p+-half, marked if it is not as predicted (!) or the data cannot tell (?); - without a rate."""
    if math.isnan(rate.exponent) or rate.refused:
        return "-"
    mark = {"not as predicted": "!", "cannot tell": "?"}.get(rate.verdict, "")
    return f"{rate.exponent:.3f}±{0.5 * (rate.ci_high - rate.ci_low):.3f}{mark}"
