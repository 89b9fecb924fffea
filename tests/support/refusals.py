"""What a refusal of the command line has to look like."""

from __future__ import annotations

from runs import run


def refused(*words: object, **options: object) -> str:
    """The one line that the command is refused with."""
    done = run(*words, check=False, **options)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("rnnlimits: ")
    print(lines[0].removeprefix("rnnlimits: "))
    return lines[0]
