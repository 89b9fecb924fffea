"""Identities: hashes of exactly what changes certain results. They name folders of shards and show what is stale."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rnnlimits.study.grid import Cell, RichTwin, Twin, cells, rich_twins, tangent_twins, twins

if TYPE_CHECKING:
    from rnnlimits.study.model import Study

METHOD = 2  # of rich twins; raise it when their last digits change
TANGENTS_METHOD = 4  # of their tangents, likewise, and when their files get further variables
RANDOMNESS_VERSION = 1  # raise it when the same seed gives other random numbers than before
ID_DIGITS = 12


def identity(values: dict[str, Any]) -> str:
    """12 hexadecimal digits of values in canonical JSON.

    The types of the study already make 1 and 1.0 the same; sorting makes the order of keys irrelevant.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


# --- of a study of trainings ----------------------------------------------------------------------------------


def cell_id(study: Study, cell: Cell) -> str:
    """12 hexadecimal digits of exactly what changes the numbers of a replica of the cell.

    Not part of it: the study's name, paths, other cells, the number of replicas, how they are cut into blocks.
    """
    return identity({**_world(study), **_training(study), **_point(cell)})


def draw_id(study: Study) -> str:
    """12 hexadecimal digits of what changes the draw stage and the limit."""
    return identity({**_world(study), **_draws(study)})


def twin_id(study: Study, twin: Twin) -> str:
    """12 hexadecimal digits of what changes the numbers of one twin."""
    keys = {"alpha", "horizon", "checkpoints", "loss_bins"}
    clock = study.training.model_dump(mode="json", include=keys)
    return identity({**_world(study), **_nodes(study), "training": clock, "steps_per_time": twin.steps_per_time})


def rich_id(study: Study, twin: RichTwin) -> str:
    """12 hexadecimal digits of what changes the numbers of one rich twin."""
    keys = {"alpha", "horizon", "checkpoints", "loss_bins", "update_b", "antithetic"}
    clock = study.training.model_dump(mode="json", include=keys)
    nodes = study.rich.model_dump(mode="json", include={"c_nodes", "b_nodes"})
    point = dict(zip(("richness", "steps_per_time", "depth", "level"), twin.point, strict=True))
    kernel = {"kernel": True} if study.training.kernel else {}  # if it is off, it changes nothing
    return identity(
        {**_world(study), **_nodes(study), "training": clock, "rich": nodes, "method": METHOD, **point, **kernel}
    )


def tangents_id(study: Study, twin: RichTwin) -> str:
    """12 hexadecimal digits of what changes the tangents of one rich twin."""
    return identity({"rich": rich_id(study, twin), "directions": study.rich.directions, "method": TANGENTS_METHOD})


def limit_id(study: Study) -> str:
    """12 hexadecimal digits of what changes the limit: the draws, and the training's clock."""
    keys = {"alpha", "horizon", "checkpoints"}
    clock = study.training.model_dump(mode="json", include=keys)
    return identity({"draws": draw_id(study), "training": clock})


def poisson_id(study: Study) -> str:
    """12 hexadecimal digits of what changes the long-run variances, and the leading noise of the twins."""
    return identity({"limit": limit_id(study), "twins": [asdict(twin) for twin in twins(study)]})


def study_id(study: Study) -> str:
    """12 hexadecimal digits of what changes any result of the study."""
    grid = [{**_point(cell), "replicas": cell.replicas} for cell in cells(study)]
    alone: dict[str, Any] = {"twins": [asdict(twin) for twin in twins(study)]} if twins(study) else {}
    if rich_twins(study):  # without them, identities are those from before the section existed
        alone["rich"] = [asdict(twin) for twin in rich_twins(study)]
        alone["tangents"] = [asdict(twin) for twin in tangent_twins(study)]
        methods = [METHOD, TANGENTS_METHOD]
        alone["rich_nodes"] = [study.rich.c_nodes, study.rich.b_nodes, study.rich.directions, *methods]
    return identity({**_world(study), **_training(study), **_draws(study), "cells": grid, **alone, **study.own_digests})


def _world(study: Study) -> dict[str, Any]:
    """The values that every stage depends on."""
    values = _dump(study, "seed", "target", "network", "probes")
    if (file := study.own_activation) is not None:
        values["network"]["activation"] = {"digest": file.digest}
    return {**values, "chain": study.chain.identity(study.source), "randomness": RANDOMNESS_VERSION}


def _draws(study: Study) -> dict[str, Any]:
    return {**_dump(study, "draws"), **_nodes(study)}


def _nodes(study: Study) -> dict[str, Any]:
    """The values that choose the nodes: the kind of nodes counts, not whether it is the default."""
    return {"limit": {"nodes": study.limit.nodes, "features": study.features}}


def _training(study: Study) -> dict[str, Any]:
    keys = {"alpha", "horizon", "checkpoints", "clip", "update_b", "antithetic", "loss_bins"}
    if study.training.kernel:  # if it is off, identities are those from before the key existed
        keys.add("kernel")
    return {**_dump(study, "precision"), "training": study.training.model_dump(mode="json", include=keys)}


def _point(cell: Cell) -> dict[str, Any]:
    axis = {"beta": cell.beta} if cell.richness is None else {"richness": cell.richness}
    return {
        **axis,
        "width": cell.width,
        "steps_per_time": cell.steps_per_time,
        "depth": cell.depth,
    }


def _dump(study: Study, *keys: str) -> dict[str, Any]:
    return study.model_dump(mode="json", include=set(keys))
