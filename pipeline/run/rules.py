"""What the rule of a part runs, and its params."""

from __future__ import annotations

from rnnlimits.plan.parts import Part


def part_command(part: Part) -> str:
    """The words after `rnnlimits` in the rule of a part, with the rule's params in braces."""
    if part.command == "work":
        return "work {params.study:q} {params.part:q}"
    option = f" --{part.option[0]} {{params.{part.option[0]}}}" if part.option else ""
    return f"{part.command} {{params.study:q}}{option}"


def part_params(part: Part) -> dict[str, object]:
    """Params of the rule of a part in addition to the study: the arguments of its command."""
    return {"part": part.name} if part.command == "work" else dict([part.option] if part.option else [])
