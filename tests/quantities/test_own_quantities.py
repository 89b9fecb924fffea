"""Quantities from a file that a study names: they have rows, belong to the identity, and are refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import example_results as made_up
import numpy as np
import pytest
import yaml
from runs import TINY_RNTK

from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.elman import plan as elman
from rnnlimits.quantities import own
from rnnlimits.quantities.base import Quantity, registered
from rnnlimits.quantities.elman import ElmanQuantity
from rnnlimits.rates import design, stage
from rnnlimits.rates.stage import Rate
from rnnlimits.statistics.ratefile import to_csv
from rnnlimits.study import RntkStudy, Study
from rnnlimits.training import plan

FILE = """
from rnnlimits.quantities import TrainedQuantity, register
from rnnlimits.quantities.base import N
from rnnlimits.quantities.trained import rms_order
from rnnlimits.statistics.samples import average


def sample(trainings):
    return average((trainings.of_law(trainings.output) ** 2).mean(-1))


register(
    TrainedQuantity(
        name="output_square",
        estimator="plain",
        variable=N,
        title="Mean square error of the output",
        sample=sample,
        expected=lambda beta, design: 2 * rms_order(beta, design),
    )
)
"""
SQUARE = "    return average((trainings.of_law(trainings.output) ** 2).mean(-1))\n"


def loaded(folder: Path, text: str = FILE, names: object = "my.py", base: Study | None = None) -> Study:
    """The made-up study, with a file of its own quantities in `folder`."""
    (folder / "my.py").write_text(text)
    values = {**(base or made_up.make_study(beta="[0.75]", width="[64, 128, 256]")).values(), "quantities": names}
    found = studies.loads(yaml.safe_dump(values), folder / "study.yaml")
    assert isinstance(found, Study)
    return found


def rates(study: Study, folder: Path) -> list[Rate]:
    return stage.run(study, made_up.write_results(study, folder / "results"), kernels.backend("numpy"))


def test_the_square_has_twice_the_exponent_and_the_others_stay(tmp_path: Path) -> None:
    before = list(registered(Quantity))
    found = rates(loaded(tmp_path), tmp_path)
    by_name = {(rate.quantity, rate.estimator): rate for rate in found}
    square, rms = by_name["output_square", "plain"], by_name["output_rms", "plain"]
    for one, two in zip(square.cloud, rms.cloud, strict=True):
        np.testing.assert_allclose(one.estimate, two.estimate**2)
    assert square.expected == 2 * rms.expected
    assert list(registered(Quantity)) == before  # another study of this process does not have it
    plain = rates(made_up.make_study(beta="[0.75]", width="[64, 128, 256]"), tmp_path / "plain")
    own = [replace(rate, study_id="") for rate in found if rate.quantity != "output_square"]
    assert to_csv(own) == to_csv([replace(rate, study_id="") for rate in plain])


def test_plan_resolve_knows_it(tmp_path: Path) -> None:
    study = loaded(tmp_path)
    layout = made_up.write_results(study, tmp_path / "results")
    found = design.resolve(study, layout, kernels.backend("numpy"), 1.0, "output_square")
    assert found.quantity.name == "output_square"


def test_only_the_bytes_of_the_file_are_part_of_the_identity_of_rates(tmp_path: Path) -> None:
    one, (cell, *_) = loaded(tmp_path), plan.cells(loaded(tmp_path))
    before = plan.study_id(one)
    edited = loaded(tmp_path, FILE + "# another\n")
    assert plan.study_id(edited) != before == plan.study_id(one)
    assert plan.cell_id(one, cell) == plan.cell_id(edited, cell)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "other.py").write_text(FILE)
    assert plan.study_id(loaded(tmp_path, names=["deep/other.py"])) == plan.study_id(one)
    (tmp_path / "my.py").write_text(FILE)
    text = studies.to_yaml(one, tmp_path / "deep")
    assert "quantities: [../my.py]" in text
    assert plan.study_id(studies.loads(text, tmp_path / "deep" / "study.yaml")) == plan.study_id(one)


def test_a_study_keeps_the_file_that_it_was_first_used_with(tmp_path: Path) -> None:
    """So that rates of one file are never written with the identity of another, edited meanwhile."""
    study = loaded(tmp_path)
    before = study.identity
    (tmp_path / "my.py").write_text("raise SystemExit(1)\n")
    found = rates(study, tmp_path)
    assert {rate.study_id for rate in found} == {before}
    assert loaded(tmp_path, FILE + "# another\n").identity != before


def test_to_say_what_is_due_runs_nothing(tmp_path: Path) -> None:
    study = loaded(tmp_path, "raise SystemExit(1)\n")
    assert experiments.of(study, tmp_path).steps()
    with pytest.raises(StudyError, match=r"my\.py: line 1: SystemExit"):
        experiments.check(study)


def test_check_says_what_is_registered(tmp_path: Path) -> None:
    assert experiments.check(loaded(tmp_path))[-1] == f"{tmp_path / 'my.py'}: registers output_square (plain)"


ELMAN = FILE.replace("TrainedQuantity", "ElmanQuantity").replace("import ElmanQuantity, register", "import register")
ELMAN = "from rnnlimits.quantities.elman import ElmanQuantity\n" + ELMAN.replace("sample=", "kind=0, ladder=0, sample=")
REFUSED = {
    "nothing": ("x = 1\n", "my.py: registers no quantity; allowed: at least one call of"),
    "taken": (FILE.replace("output_square", "output_rms"), "quantity output_rms (plain) is registered already"),
    "no quantity": (
        "from rnnlimits.quantities import register\nregister(3)\n",
        "my.py: line 2: ValueError: 3 is not a",
    ),
    "of another kind": (ELMAN, "output_square is a ElmanQuantity, which no study of training can have"),
    "missing name": ("from rnnlimits.quantities import no\n", "my.py: line 1: ImportError: cannot import name 'no'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_without_a_usable_quantity_is_refused(case: str, tmp_path: Path) -> None:
    text, words = REFUSED[case]
    with pytest.raises(StudyError) as refused:
        experiments.check(loaded(tmp_path, text))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


WRONG = {
    "    return 1.0\n": "sample of output_square (plain) returns float; allowed: a Sample",
    "    return average(trainings.output[:, 0].T)\n": "has statistics of shape (6, 1); allowed: (64, m), a row",
    "    return average(trainings.nothing)\n": "my.py: line 9: AttributeError: 'Trainings' object has no attribute",
}


@pytest.mark.parametrize("code", WRONG)
def test_a_function_that_fails_on_the_results_is_refused(code: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as refused:
        rates(loaded(tmp_path, FILE.replace(SQUARE, code)), tmp_path)
    assert WRONG[code] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_files_with_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "too.py").write_text(FILE)
    with pytest.raises(StudyError, match=r"study\.yaml: quantities: quantity output_square \(plain\) is registered"):
        experiments.check(loaded(tmp_path, names=["my.py", "too.py"]))


@pytest.mark.parametrize("names", [3, [3], "", [""], {"my.py": 1}])
def test_the_key_takes_names_of_files(names: object, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"quantities is .*; allowed: the name of a Python file, or a list of them"):
        loaded(tmp_path, names=names)


RNTK_FILE = """
from rnnlimits.quantities import register
from rnnlimits.quantities.base import ELMAN_WIDTH
from rnnlimits.quantities.elman import ElmanQuantity
from rnnlimits.statistics.samples import spread

register(
    ElmanQuantity(
        name="spread",
        estimator="own",
        variable=ELMAN_WIDTH,
        title="",
        kind="kernel",
        ladder="fluctuation",
        sample=lambda values: spread(values["ntk"]),
        expected=lambda activation: 0.5,
    )
)
"""


def test_a_study_of_the_recurrent_ntk_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(RNTK_FILE)
    values = {**TINY_RNTK, "quantities": "my.py"}
    study = studies.loads_any(yaml.safe_dump(values), tmp_path / "study.yaml")
    assert isinstance(study, RntkStudy)
    assert experiments.check(study)[-1].endswith("my.py: registers spread (own)")
    with own.quantities_of(study):
        assert [entry.name for entry in registered(ElmanQuantity)][-1] == "spread"
    before, (cell, *_) = study.identity, elman.cells(study)
    (tmp_path / "my.py").write_text(FILE)
    edited = studies.loads_any(yaml.safe_dump(values), tmp_path / "study.yaml")
    assert isinstance(edited, RntkStudy)
    assert edited.identity != before
    assert elman.cell_id(edited, cell) == elman.cell_id(study, cell)
    with pytest.raises(StudyError, match=r"output_square is a TrainedQuantity, which no study of rntk can have"):
        experiments.check(edited)
