"""The table of chains in docs/model.md, from the registry: python docs/_ext/chain_table.py renews it."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.chains.base import KINDS

PAGE = Path(__file__).resolve().parent.parent / "model.md"
HEAD = "| `chain.kind` | step | |\n|---|---|---|\n"
RENEW = "python docs/_ext/chain_table.py"


def table() -> str:
    """A row for each kind: its name, its step, the number of that equation."""
    rows = (f"| `{name}` | {section.equation} | {section.tag} |\n" for name, section in KINDS.items())
    return HEAD + "".join(rows)


def renewed(text: str) -> str:
    """The page with the table as it should be: from its head to the next empty line."""
    before, _, rest = text.partition(HEAD)
    return f"{before}{table()}\n{rest.partition(chr(10) * 2)[2]}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
