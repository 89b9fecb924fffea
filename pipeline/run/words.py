"""Paths and names as words of Snakemake's command line, which reads a value as a number or YAML wherever it can."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from rnnlimits.base.errors import StudyError

MARK = "percent:"  # a value of --config in this notation; it consists of letters that YAML and shells leave alone


def encoded(value: object) -> str:
    """The value of an option of --config that means exactly the text `value`; see `decoded`."""
    return MARK + quote(os.fsencode(str(value)))


def decoded(value: object) -> str:
    """The text that was `encoded`, or as a user has written it in a Snakefile or a command line."""
    text = str(value)
    return os.fsdecode(unquote_to_bytes(text.removeprefix(MARK))) if text.startswith(MARK) else text


def as_file(path: object) -> str:
    """A relative path that cannot be taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def require_readable(*paths: Path) -> None:
    """Raises StudyError if the workflow cannot use a path: it is not UTF-8, or has a line break."""
    for path in map(str, (Path.cwd(), *paths)):
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise StudyError(
                f"{os.fsencode(path)!r}: is not UTF-8, which the workflow needs; rename the file or folder"
            ) from error
        if not path.isprintable() and any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
            raise StudyError(f"{path!r}: has a control character, which the workflow cannot handle; rename it")
