"""What the rule of a part runs, and its params; and which parts share one rule."""

from __future__ import annotations

from collections.abc import Sequence

from rnnlimits.plan import due
from rnnlimits.plan.parts import Experiment, Part

SEPARATOR = ","  # of the names of parts, none of which has one


def parts_of_one_start(experiment: Experiment) -> str:
    """The names of the parts that are due, which one start of the ranks computes: it takes as long as a small part."""
    return SEPARATOR.join(due.due(experiment).parts)


def named(parts: Sequence[Part], names: str) -> list[Part]:
    """The parts of these names; a single one keeps its own rule."""
    found = [part for part in parts if part.name in set(names.split(SEPARATOR))]
    return found if len(found) > 1 else []


def part_command(part: Part) -> str:
    """The words after `rnnlimits` in the rule of a part, with the rule's params in braces."""
    if part.command == "work":
        return "work {params.study:q} {params.part:q}"
    option = f" --{part.option[0]} {{params.{part.option[0]}}}" if part.option else ""
    return f"{part.command} {{params.study:q}}{option}"


def part_params(part: Part) -> dict[str, object]:
    """Params of the rule of a part in addition to the study: the arguments of its command."""
    return {"part": part.name} if part.command == "work" else dict([part.option] if part.option else [])
