"""The documents that `--json` prints, one for each verb. Keys stay; new ones may be added (docs/command-line.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnlimits.cli import streams
from rnnlimits.cluster import submission
from rnnlimits.cluster.jobs import Job, jobs, megabytes_per_core, minutes
from rnnlimits.cluster.site import Site, suited
from rnnlimits.experiments.base import pack_cost
from rnnlimits.files.reading import Group, Variable, attribute_of, open_complete
from rnnlimits.plan.forecast import missing_files
from rnnlimits.plan.parts import Experiment, Pace, Part, Step, ensembles
from rnnlimits.rates.design import Resolved
from rnnlimits.results import standing, unpacking
from rnnlimits.results.inspection import digest, hdf5_files, of_others
from rnnlimits.results.summary import places, rates_of
from rnnlimits.run import shipped
from rnnlimits.run.citing import Entry
from rnnlimits.run.findings import Finding
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.verdicts import VERDICTS

Document = dict[str, Any]


def text(document: Document) -> str:
    """The document as JSON (RFC 8259): numbers that are not finite become null, letters are escaped if they must be."""
    return json.dumps(_plain(document), indent=2, ensure_ascii=not streams.takes_every_letter(), allow_nan=False)


def _plain(value: Any) -> Any:
    """The value in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, bool | int | str) else str(value)


# --- studies and their costs -------------------------------------------------------------------------------


def of_shipped() -> Document:
    """The list of `rnnlimits studies`: name, path and first comment of everything that ships."""
    kinds = {
        "studies": shipped.studies(),
        "atlases": shipped.atlases(),
        "profiles": shipped.profiles(),
        "sites": shipped.sites(),
    }
    return {
        kind: [{"name": name, "path": path, "about": shipped.about(path)} for name, path in paths.items()]
        for kind, paths in kinds.items()
    }


def of_plan(experiment: Experiment, pace: Pace, ranks: int = 1) -> Document:
    """The work of a study, with its cost; hours are those of one worker (core or GPU) of this machine.

    packs: the parts that compute networks; parts: all parts, in the order of work; steps: the steps after them.
    """
    parts, study = experiment.parts(), experiment.study
    packs = [_pack(part, pace) for part in experiment.packs()]
    return {
        "study": study.name,
        "study_id": experiment.identity,
        "experiment": experiment.kind,
        "precision": study.precision,
        "worker": pace.worker,
        **pace.measured,
        "hours": sum(pack["seconds"] for pack in packs) / 3600,
        "bytes": sum(ensemble.bytes for ensemble in ensembles(parts)),
        "forecast": {
            **experiment.forecast(pace, ranks).document(),
            "remaining": experiment.forecast(pace, ranks, missing_files).document(),
        },
        "packs": packs,
        "parts": [_part(part) for part in parts],
        "steps": [_step(step) for step in experiment.steps()],
    }


def _pack(part: Part, pace: Pace) -> Document:
    cost = pack_cost(part)
    return {
        "pack": part.name,
        "cells": cost.cells,
        "replicas": cost.replicas,
        "blocks": cost.blocks,
        part.unit.replace("-", "_"): cost.work,
        "seconds": cost.work * pace.ns_per_unit / 1e9,
        "bytes": cost.bytes,
    }


def _part(part: Part) -> Document:
    return {
        "part": part.name,
        "unit": part.unit,
        "work": part.work,
        "blocks": len(part.blocks),
        "outputs": part.outputs,
    }


def _step(step: Step) -> Document:
    return {"step": step.name, "inputs": step.inputs, "outputs": step.paths}


def of_resolved(experiment: Experiment, resolved: Resolved, pace: Pace, ranks: int = 1) -> Document:
    """The plan with the chosen replicas, and the predicted half-widths."""
    return {
        **of_plan(experiment, pace, ranks),
        "quantity": resolved.quantity.name,
        "replicas": resolved.replicas,
        "done": resolved.done,
        "half_widths": resolved.half_widths,
        "at_widths": resolved.at_widths,
        "laws": resolved.laws,
    }


def of_jobs(experiment: Experiment, using: submission.Profile) -> Document:
    """The jobs of a study on a cluster, with the lines that submit them."""
    using = replace(using, site=suited(using.site, experiment))
    return {
        "study": experiment.study.name,
        "study_id": experiment.identity,
        "site": using.site.source,
        "jobs": [_job(job, using.site, using) for job in jobs(experiment, using.site)],
    }


def _job(job: Job, site: Site, using: submission.Profile) -> Document:
    return {
        "job": job.name,
        "parts": [part.name for part in job.parts],
        "nodes": job.nodes,
        "ranks_per_node": job.ranks_per_node,
        "seconds": job.seconds,
        "minutes": minutes(job, site),
        "megabytes_per_core": megabytes_per_core(job, site),
        "hours": job.rank_hours,
        "sbatch": submission.sbatch_line(job, using),
    }


# --- results -----------------------------------------------------------------------------------------------


def of_summary(results: Path, study: Path | None = None) -> Document:
    """The rates of a study, including those of single probes, and the paths of its files. Raises as rates_of does."""
    with unpacking.folder_of(results, unpacking.RATES) as root:
        rates, stale = rates_of(root, study), [str(fault) for fault in standing.stale(root)]
    return {
        "results": results,
        "stale": stale,
        "verdicts": {verdict: sum(rate.verdict == verdict for rate in rates) for verdict in VERDICTS},
        "rates": [{name: getattr(rate, name) for name in ratefile.COLUMNS} for rate in rates],
        "files": {path.name: path for path, _ in places(results)},
    }


def of_faults(path: Path, faults: Sequence[str]) -> Document:
    """The findings of `rnnlimits validate`."""
    return {"path": path, "valid": not faults, "faults": faults}


def of_digests(path: Path) -> Document:
    """The digest of each file."""
    lines = (line.split(maxsplit=1) for line in digest(path))
    return {"path": path, "digests": {file: value for value, file in lines}}


def of_files(path: Path) -> Document:
    """The contents of a file, or of all files of a folder. Raises StudyError for a file that is not complete."""
    return {
        "path": path,
        "stale": of_others(path),
        "files": [_file(file) for file in hdf5_files(path)],
    }


def _file(path: Path) -> Document:
    with open_complete(path, None) as file:
        return {
            "path": path,
            "kind": attribute_of(file, "kind"),
            "format_version": attribute_of(file, "format_version"),
            "bytes": path.stat().st_size,
            "groups": [_group(group) for group in file.groups()],
        }


def _group(group: Group) -> Document:
    members = group.variables
    return {
        "group": group.name,
        "dimensions": {d.name.rsplit("/", 1)[-1]: len(d) for d in members.values() if d.is_scale},
        "variables": [_variable(dataset) for dataset in members.values()],
        "attributes": dict(group.attrs.items()),
    }


def _variable(dataset: Variable) -> Document:
    return {
        "name": dataset.name.rsplit("/", 1)[-1],
        "dims": dataset.dims,
        "shape": dataset.shape,
        "dtype": dataset.dtype,
        "units": dataset.attrs.get("units"),
        "long_name": dataset.attrs.get("long_name"),
    }


def of_citation(found: Sequence[Entry]) -> Document:
    """The entries of `rnnlimits cite`."""
    return {"entries": [{"key": one.key, "type": one.type, "fields": one.fields} for one in found]}


# --- the machine -------------------------------------------------------------------------------------------


def of_findings(findings: Iterable[Finding]) -> Document:
    """The findings of `rnnlimits doctor`; mark is ok, warning or failed."""
    lines = [
        {"section": one.section, "mark": one.mark.strip(":").lower(), "label": one.label, "text": one.text}
        for one in findings
    ]
    failed, warned = (sum(line["mark"] == mark for line in lines) for mark in ("failed", "warning"))
    return {"good": failed == 0, "failed": failed, "warnings": warned, "findings": lines}
