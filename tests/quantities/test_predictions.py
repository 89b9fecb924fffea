"""The table of predictions in docs/model.md promises no measurement that the software does not make, and omits none."""

from __future__ import annotations

import re

from runs import ROOT

from rnnlimits.quantities.base import Quantity, registered
from rnnlimits.quantities.elman import DESCENT_STEPS, ELMAN_WIDTH


def rows() -> list[list[str]]:
    """Cells of the table of section 7, without its head."""
    section = (ROOT / "docs" / "model.md").read_text().split("## 7. Predictions")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    # An escaped bar or a formula could hide a cell: every row has as many as the head.
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in table} == {len(table[0])}
    assert table[0][-1] == "measured as"
    return table[2:]


def test_every_prediction_names_a_quantity_or_says_that_it_is_not_measured() -> None:
    of_elman = (ELMAN_WIDTH, DESCENT_STEPS)  # docs/rntk.md has theirs
    measured = {entry.name for entry in registered(Quantity) if entry.variable not in of_elman}
    named: set[str] = set()
    for row in rows():
        found = {word for word in re.findall(r"`([a-z_0-9]+)`", row[-1]) if word in measured}
        assert found or row[-1].startswith("**not measured yet**"), row
        named |= found
    assert named == measured


def test_nothing_is_left_unmeasured_in_silence() -> None:
    """Every row is measured today; one that is not must say so, and this test then names it."""
    assert [row[0] for row in rows() if "not measured" in row[-1]] == []
