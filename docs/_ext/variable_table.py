"""The tables of variables in docs/command-line.md, from the lists: python docs/_ext/variable_table.py renews them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rnnlimits.base import variables

PAGE = Path(__file__).resolve().parent.parent / "command-line.md"
HONOURED = "| variable | what it does |\n|---|---|\n"
REMOVED = "| read by | removed |\n|---|---|\n"
RENEW = "python docs/_ext/variable_table.py"


def honoured() -> str:
    """A row for each variable that may influence a run."""
    return HONOURED + "".join(f"| `{name}` | {words} |\n" for name, words in variables.HONOURED.items())


def removed() -> str:
    """A row for each family that is removed."""
    families = {
        **variables.REMOVED,
        "MPI and its launchers": variables.MPI,
        "batch systems": variables.BATCH,
        "bash": variables.SHELL,
    }
    return REMOVED + "".join(f"| {family} | {_names(names)} |\n" for family, names in families.items())


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def renewed(text: str) -> str:
    """The page with the tables as they should be: each from its head to the next empty line."""
    for head, table in ((HONOURED, honoured()), (REMOVED, removed())):
        before, _, rest = text.partition(head)
        text = f"{before}{table}\n{rest.partition(chr(10) * 2)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
