"""How the parts of a study become jobs: small ones share a job, large ones get more ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnlimits.cluster.site import Site
from rnnlimits.plan.parts import Experiment, Part

BLOCK_SECONDS = 0.05  # of a block besides its operations: its networks are drawn, its shard is written
BASE_MEGABYTES = 400  # of a rank: Python, libraries, a path
SPARE = 1.5  # of all arrays that were counted
START_SECONDS = 60.0  # of a job before its first block: two Snakemakes, Python, the kernels' first compilation
NODE_SPARE = 1.05  # a node has a little more memory than its ranks are given together
FEWEST = 2  # ranks of a job where a node has as many; the executor plugin refuses an MPI job of one task


@dataclass(frozen=True)
class Share:
    """A part of a study as something to be packed into jobs, with what it takes of one rank.

    Costs are counted from the plan and only size jobs: an estimate that is off makes a job shorter or longer than
    intended, never wrong. seconds: of all blocks, one after the other; block_seconds: of the largest block; megabytes:
    of a rank that works on the largest block.
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
    """The parts of a study, in the order of work, with what they cost at a site."""
    return tuple(_share(part, site.per_second(part.operation, part.precision)) for part in experiment.parts())


def _share(part: Part, per_second: float) -> Share:
    seconds = [block.operations / per_second + BLOCK_SECONDS for block in part.blocks]
    return Share(part, sum(seconds), max(seconds), BASE_MEGABYTES + SPARE * part.megabytes)


@dataclass(frozen=True)
class Job:
    """Parts that are run one after the other by one start of `ranks` ranks on `nodes` nodes, equally many on each."""

    parts: tuple[Share, ...]
    nodes: int
    ranks_per_node: int

    @property
    def ranks(self) -> int:
        """Of all nodes."""
        return self.nodes * self.ranks_per_node

    @property
    def name(self) -> str:
        """Its first part, and its last if there are several: draw..N00064-K00064."""
        first, last = self.parts[0].name, self.parts[-1].name
        return first if first == last else f"{first}..{last}"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Of all parts."""
        return tuple(path for share in self.parts for path in share.part.outputs)

    @property
    def work(self) -> float:
        """Seconds that one rank would take."""
        return sum(part.seconds for part in self.parts)

    @property
    def seconds(self) -> float:
        """Expected length: the work shared out, and a last block for which the others wait."""
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
    """The jobs of a study, in the order of work. A function of study and site (as `site.suited` has it) alone."""
    return tuple(_job(shared, site) for shared in _shared(shares(experiment, site), site))


def _shared(every: Iterable[Share], site: Site) -> Iterator[tuple[Share, ...]]:
    """Neighbours that together keep a node busy for as long as a job should take; a short rest joins the one before."""
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
    """Whether it would be over too soon even with the fewest ranks."""
    return sum(part.seconds for part in group) < 60.0 * site.shortest * _fewest(site)


def _fewest(site: Site) -> int:
    return min(FEWEST, site.ranks_per_node)


def _job(shared: tuple[Share, ...], site: Site) -> Job:
    """With the ranks that let it take the wanted time, none of which would only wait; full nodes if several."""
    work = sum(part.seconds for part in shared)
    pace = max(60.0 * site.minutes, *(part.block_seconds for part in shared))
    wanted = max(_fewest(site), math.ceil(work / pace))
    fitting = _fitting(shared, site)
    if wanted <= fitting:
        return Job(shared, 1, wanted)
    return Job(shared, min(site.nodes, math.ceil(wanted / fitting)), fitting)


def _fitting(shared: tuple[Share, ...], site: Site) -> int:
    """Ranks for which a node has the memory; one where it has too little even for that, by what the site says."""
    node = NODE_SPARE * site.megabytes_per_rank * site.ranks_per_node
    return max(1, min(site.ranks_per_node, int(node / max(part.megabytes for part in shared))))


def minutes(job: Job, site: Site, attempt: int = 1) -> int:
    """Time to ask for: with a margin, more at each further attempt, never more than the site allows."""
    asked = site.margin * attempt * (job.seconds + site.warning) / 60
    return min(site.longest, max(site.shortest, 1, math.ceil(asked)))


def megabytes_per_core(job: Job, site: Site, attempt: int = 1) -> int:
    """Memory to ask for, for each core, more at each further attempt."""
    rank = max(float(site.megabytes_per_rank), job.megabytes) * attempt
    return math.ceil(rank / site.cores_per_rank)
