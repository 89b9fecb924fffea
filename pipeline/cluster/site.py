"""The site file: what jobs of a cluster may be, site.yaml beside the profile that Snakemake reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from kernels import BACKENDS
from pipeline.errors import StudyError
from pipeline.study.errors import one_line
from pipeline.study.text import parse
from pipeline.study.types import WHOLE, Allowed, Count, Found, Name, Positive, Section, Switch, refusal

FILE = "site.yaml"

Launch = Literal["srun-pmi2", "srun-pmix", "mpiexec"]
Whole = Annotated[int, Field(strict=True, ge=0, le=2**30), WHOLE, Allowed("a whole number, 0 or above")]


class Speed(Section):
    """Unit-steps per second of one rank, as `rnnlimits doctor` measures them on a node."""

    float32: Positive = Field(default=2e9, description="In single precision")
    float64: Positive = Field(default=1e9, description="In double precision")

    def of(self, precision: str) -> float:
        """For a study's precision."""
        return float(getattr(self, precision))


class Site(Section):
    """A cluster, as far as the size and the start of jobs depend on it."""

    launch: Launch = Field(default="srun-pmi2", description="How ranks are started inside a job")
    results: Name = Field(default="results", description="Folder of all results; every node must see it")
    ranks_per_node: Count = Field(description="Cores of a node, or its GPUs")
    cores_per_rank: Count = Field(default=1, description="Cores that each rank is given")
    gpus: Switch = Field(default=False, description="Whether each rank has a GPU")
    nodes: Count = Field(default=1, description="Most nodes of one job")
    minutes: Count = Field(default=30, description="How long a job should take")
    shortest: Whole = Field(default=10, description="Minutes; smaller pieces share a job")
    longest: Count = Field(default=1440, description="Minutes; the partition's limit")
    warning: Count = Field(default=180, description="Seconds before the limit at which a job is told to save its state")
    margin: Positive = Field(default=2.0, description="Time asked for over time expected")
    megabytes_per_rank: Count = Field(default=2000, description="Memory that a rank has at least")
    speed: Speed = Field(default=Speed(), description="Unit-steps per second of one rank")
    backend: Literal[BACKENDS] = Field(default="auto", description="Back end of the jobs")  # type: ignore[valid-type]

    _source: Path = PrivateAttr(default=Path(FILE))

    @property
    def source(self) -> Path:
        """The file it was read from."""
        return self._source

    @model_validator(mode="after")
    def _order(self) -> Self:
        if not self.shortest <= self.minutes <= self.longest:
            found = Found(f"shortest, minutes, longest are {self.shortest}, {self.minutes}, {self.longest}")
            raise refusal("", found, "allowed: shortest <= minutes <= longest")
        if self.margin < 1:
            raise refusal("margin", self.margin, "allowed: 1 or more")
        return self


def load(path: Path) -> Site:
    """Read a site file, or the one in a profile's folder. Raises StudyError, one line, for whatever is wrong."""
    path = path / FILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise StudyError(f"{path}: cannot be read: {why}; give a profile folder such as cluster/slurm") from error
    raw = parse(text, str(path))
    try:
        site = Site.model_validate(raw)
    except ValidationError as error:
        raise StudyError(one_line(error, raw, str(path))) from error
    site._source = path
    return site
