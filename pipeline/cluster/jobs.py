"""The jobs for the parts of a study: small parts share a job, large ones get more ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.cluster.site import Site
from rnnlimits.plan.parts import Experiment, Part

BLOCK_SECONDS = 0.05  # per block, in addition to its operations: draw its networks, write its shard
BASE_MEGABYTES = 400  # per rank: Python, libraries, a path
SPARE = 1.5  # factor for all arrays that were counted
START_SECONDS = 60.0  # start of a job before its first block: Snakemake twice, Python, compilation of the kernels
NODE_SPARE = 1.05  # a node has a little more memory than all its ranks are given
FEWEST = 2  # ranks of a job if a node has as many; the executor plugin refuses an MPI job with one task


@dataclass(frozen=True)
class Share:
    """A part of a study to be assigned to jobs, with its cost for one rank.

    Costs are estimated from the plan and only determine the size of jobs: an inaccurate estimate makes a job shorter or
    longer than intended, but never wrong. seconds: for all blocks, one after the other; block_seconds: for the largest
    block; megabytes: for a rank that works on the largest block.
    """

    part: Part
    seconds: float
    block_seconds: float
    megabytes: float

    @property
    def name(self) -> str:
        """The name of the part."""
        return self.part.name


def shares(experiment: Experiment, site: Site) -> tuple[Share, ...]:
    """The parts of a study, in the order of work, with their costs at a site."""
    return tuple(_share(part, site.per_second(part.operation, part.precision)) for part in experiment.parts())


def _share(part: Part, per_second: float) -> Share:
    seconds = [block.operations / per_second + BLOCK_SECONDS for block in part.blocks]
    return Share(part, sum(seconds), max(seconds), BASE_MEGABYTES + SPARE * part.megabytes)


@dataclass(frozen=True)
class Job:
    """Parts that run one after the other in one job with `ranks` ranks on `nodes` nodes, equally many on each."""

    parts: tuple[Share, ...]
    nodes: int
    ranks_per_node: int

    @property
    def ranks(self) -> int:
        """Number of ranks on all nodes."""
        return self.nodes * self.ranks_per_node

    @property
    def name(self) -> str:
        """Its first part, and its last if it has several, such as draw..N00064-K00064."""
        first, last = self.parts[0].name, self.parts[-1].name
        return first if first == last else f"{first}..{last}"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The outputs of all parts."""
        return tuple(path for share in self.parts for path in share.part.outputs)

    @property
    def work(self) -> float:
        """Seconds that one rank would take."""
        return sum(part.seconds for part in self.parts)

    @property
    def seconds(self) -> float:
        """Expected duration: the work divided among the ranks, and a last block for which the others wait."""
        return START_SECONDS + self.work / self.ranks + max(part.block_seconds for part in self.parts)

    @property
    def rank_hours(self) -> float:
        """Hours allocated to all ranks together, if it takes as long as expected."""
        return self.ranks * self.seconds / 3600

    @property
    def megabytes(self) -> float:
        """Memory that each rank needs."""
        return max(part.megabytes for part in self.parts)


def jobs(experiment: Experiment, site: Site) -> tuple[Job, ...]:
    """The jobs of a study, in the order of work. They depend only on study and site (from `site.suited`)."""
    return tuple(_job(shared, site) for shared in _shared(shares(experiment, site), site))


def _shared(every: Iterable[Share], site: Site) -> Iterator[tuple[Share, ...]]:
    """Groups of neighbours that keep a node busy for the duration of a job; a short last group joins the one before."""
    full = 60.0 * site.minutes * site.ranks_per_node
    groups: list[list[Share]] = [[]]
    for part in every:
        # A part that fills a job by itself does not make a group of small ones wait for it.
        if groups[-1] and sum(p.seconds for p in groups[-1]) + part.seconds > full and not _short(groups[-1], site):
            groups.append([])
        groups[-1].append(part)
    if len(groups) > 1 and _short(groups[-1], site):
        rest = groups.pop()
        groups[-1].extend(rest)
    return (tuple(group) for group in groups if group)


def _short(group: Iterable[Share], site: Site) -> bool:
    """Whether the job would be too short even with the fewest ranks."""
    return sum(part.seconds for part in group) < 60.0 * site.shortest * _fewest(site)


def _fewest(site: Site) -> int:
    return min(FEWEST, site.ranks_per_node)


def _job(shared: tuple[Share, ...], site: Site) -> Job:
    """The job with the ranks for the intended duration, without ranks that would only wait; full nodes if several."""
    work = sum(part.seconds for part in shared)
    pace = max(60.0 * site.minutes, *(part.block_seconds for part in shared))
    ranks = max(_fewest(site), math.ceil(work / pace))
    fitting = _fitting(shared, site)
    if ranks <= fitting:
        return Job(shared, 1, ranks)
    return Job(shared, min(site.nodes, math.ceil(ranks / fitting)), fitting)


def _fitting(shared: tuple[Share, ...], site: Site) -> int:
    """Number of ranks that fit into the memory of a node; one even if the site's memory is too small for it."""
    node = NODE_SPARE * site.megabytes_per_rank * site.ranks_per_node
    return max(1, min(site.ranks_per_node, int(node / max(part.megabytes for part in shared))))


def minutes(job: Job, site: Site, attempt: int = 1) -> int:
    """Time to request: with a margin, more at each further attempt, never more than the site allows."""
    requested = site.margin * attempt * (job.seconds + site.warning) / 60
    return min(site.longest, max(site.shortest, 1, math.ceil(requested)))


def megabytes_per_core(job: Job, site: Site, attempt: int = 1) -> int:
    """Memory to request for each core, more at each further attempt."""
    rank = max(float(site.megabytes_per_rank), job.megabytes) * attempt
    return math.ceil(rank / site.cores_per_rank)
