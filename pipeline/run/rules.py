"""What the rule of a part runs, and its params; and which parts share one rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rnnlimits.plan import due
from rnnlimits.plan.parts import Experiment, Part, Step

SEPARATOR = ","  # of the names of parts, none of which has one


Work = TypeVar("Work", Part, Step)


def of_one_start(experiment: Experiment) -> dict[str, str]:
    """The names of the parts that are due, which one start of the ranks computes, and of the steps, for one process.

    A start takes as long as a small part, and as most steps.
    """
    found = due.due(experiment)
    return {"together": SEPARATOR.join(found.parts), "steps": SEPARATOR.join(found.steps)}


def named(parts: Sequence[Work], names: str) -> list[Work]:
    """The parts, or steps, of these names; a single one keeps its own rule."""
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
