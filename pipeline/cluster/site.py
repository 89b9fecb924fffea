"""The site file site.yaml, next to the profile that Snakemake reads: limits and speed of a cluster's jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import WHOLE, Allowed, Count, Found, Name, Positive, Section, Switch, refusal
from rnnlimits.base.textfiles import read_utf8
from rnnlimits.kernels import BACKEND_NAMES, may_use_gpu
from rnnlimits.plan.parts import Experiment, Operation
from rnnlimits.study.errors import one_line
from rnnlimits.study.text import parse

FILE = "site.yaml"

Launch = Literal["srun-pmi2", "srun-pmix", "mpiexec"]
Whole = Annotated[int, Field(strict=True, ge=0, le=2**30), WHOLE, Allowed("a whole number, 0 or above")]


class Speed(Section):
    """Unit-steps per second of one rank, as measured by `rnnlimits doctor` on a node."""

    float32: Positive = Field(default=2e9, description="In single precision")
    float64: Positive = Field(default=1e9, description="In double precision")

    def of(self, precision: str) -> float:
        """The speed in the precision of a study."""
        return float(getattr(self, precision))


class Flops(Speed):
    """Additions and multiplications per second of one core in products with n x n matrices, computed by BLAS."""

    float32: Positive = Field(default=1e10, description="In single precision")
    float64: Positive = Field(default=5e9, description="In double precision")


# Measured on one core of an EPYC with AVX-512: a study of the recurrent NTK reached 6e9 to 36e9 flop/s in single
# precision (n = 24 to 4096), where trainings reached 3.1e9 unit-steps/s; in double precision 14e9 to 33e9, and 1.7e9.
FLOP_PER_UNIT_STEP = 5.0


class Site(Section):
    """The properties of a cluster that determine the size and the start of jobs."""

    launch: Launch = Field(default="srun-pmi2", description="How ranks are started inside a job")
    results: Name = Field(default="results", description="Folder of all results; every node must see it")
    ranks_per_node: Count = Field(description="Cores of a node, or its GPUs")
    cores_per_rank: Count = Field(default=1, description="Cores of each rank")
    gpus: Switch = Field(default=False, description="Whether each rank has a GPU")
    nodes: Count = Field(default=1, description="Most nodes of one job")
    minutes: Count = Field(default=30, description="How long a job should take")
    shortest: Whole = Field(default=10, description="Minutes; smaller pieces share a job")
    longest: Count = Field(default=1440, description="Minutes; the partition's limit")
    warning: Count = Field(default=180, description="Seconds before the limit at which a job saves its state")
    margin: Positive = Field(default=2.0, description="Requested time divided by expected time")
    megabytes_per_rank: Count = Field(default=2000, description="Minimum memory of a rank")
    speed: Speed = Field(default=Speed(), description="Unit-steps per second of one rank")
    flops: Flops | None = Field(default=None, description="For one core, in an rntk study (default: 5 per unit-step)")
    backend: Literal[BACKEND_NAMES] = Field(default="auto", description="Back end of the jobs")  # type: ignore[valid-type]

    _source: Path = PrivateAttr(default=Path(FILE))

    @property
    def source(self) -> Path:
        """The file from which it was read."""
        return self._source

    def flop_per_second(self, precision: str) -> float:
        """Additions and multiplications per second of one core for the networks of an rntk study."""
        if self.flops is None and not self.gpus:  # the speed of a GPU does not give that of a core
            return FLOP_PER_UNIT_STEP * self.speed.of(precision)
        return (self.flops or Flops()).of(precision)

    def per_second(self, operation: Operation, precision: str) -> float:
        """Operations of one rank in a second: unit-steps, or additions and multiplications."""
        return self.flop_per_second(precision) if operation == "flop" else self.speed.of(precision)

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.shortest <= self.minutes <= self.longest:
            order = Found(f"shortest, minutes, longest are {self.shortest}, {self.minutes}, {self.longest}")
            raise refusal("", order, "allowed: shortest <= minutes <= longest")
        if self.margin < 1:
            raise refusal("margin", self.margin, "allowed: 1 or more")
        return self


def backend_of_jobs(option: str | None, site: Site | None, experiment: Experiment) -> str | None:
    """Which back end the stages get. Where the study uses no GPU in jobs of a cluster, jobs have none: see `suited`."""
    chosen = option or (site.backend if site else None)
    return "host" if site and not experiment.uses_gpus and chosen and may_use_gpu(chosen) else chosen


def load(path: Path) -> Site:
    """Read a site file, or the one in a profile's folder. Raises StudyError if it is missing or invalid."""
    path = path / FILE if path.is_dir() else path
    raw = parse(read_utf8(path, "give a profile folder such as cluster/slurm"), str(path))
    try:
        site = Site.model_validate(raw)
    except ValidationError as error:
        raise StudyError(one_line(error, raw, str(path))) from error
    site._source = path
    return site


def suited(site: Site, experiment: Experiment) -> Site:
    """The site as jobs of the study see it: a study that uses no GPU has a rank for each core instead."""
    if experiment.uses_gpus or not site.gpus:
        return site
    cores = site.cores_per_rank
    changes = {
        "gpus": False,
        "ranks_per_node": site.ranks_per_node * cores,
        "cores_per_rank": 1,
        "megabytes_per_rank": max(1, site.megabytes_per_rank // cores),
        "flops": site.flops or Flops(),
    }
    return site.model_copy(update=changes)
