"""Kinds of files that every study has, and root attributes that several kinds share."""

from __future__ import annotations

from rnnlimits.plan.parts import FileKind

MACHINE = ("backend", "device")
JOINED = ("joined_along", "shard_count")  # attributes of an ensemble
RANGE = ("first", "count")  # attributes of a shard
# Attributes of a saved state, in addition to those of its shard.
SAVED = ("rounding", "state_version", "done", "chain_step", "seconds")
ENSEMBLES = "the ensembles; rnnlimits inspect FILE shows what is in one"

RATES_H5 = FileKind("rates", MACHINE, "rates.h5", "every point behind it")
RATES_CSV = FileKind(file="rates.csv", caption="the table of rates, to be read by programs")
RATES_IN_TIME = FileKind(file="rates_in_time.csv", caption="rates at the other checkpoints, not judged")
FIGURES = FileKind(file="figures", caption="the figures, SVG and PNG", is_folder=True)
REPORT = FileKind(file="report.html", caption="all of it on one page, for a browser")
STUDY_YAML = FileKind(file="study.yaml", caption="the study with every default written out")
COMMON = (REPORT, FIGURES, RATES_CSV, RATES_H5, STUDY_YAML)
