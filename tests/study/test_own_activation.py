"""An activation from a file of the user's own: the same trainings as with ours, in NumPy alone, refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from runs import TINY

import rnnlimits
from rnnlimits import experiments, kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.kernels.activations import ACTIVATIONS, source_digest
from rnnlimits.kernels.interface import KernelError
from rnnlimits.study import Study
from rnnlimits.training import plan

LOGISTIC = """
import numpy as np

slope_bound = 0.25


def value(a):
    return 1 / (1 + np.exp(-a))


def slope(a):
    return value(a) * (1 - value(a))
"""
TANH = "import numpy as np\nvalue = np.tanh\nslope_bound = 1\n\n\ndef slope(a):\n    return 1 / np.cosh(a) ** 2\n"


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """The registry without the activations of these tests afterwards: other tests are for every entry."""
    before = dict(ACTIVATIONS)
    yield
    ACTIVATIONS.clear()
    ACTIVATIONS.update(before)


def loaded(folder: Path, text: str = LOGISTIC, name: str = "my.py") -> Study:
    (folder / "my.py").write_text(text)
    values: dict[str, Any] = {**TINY, "precision": "float64", "network": {"activation": name}}
    found = studies.loads(yaml.safe_dump(values), folder / "study.yaml")
    assert isinstance(found, Study)
    return found


def test_it_trains_as_our_logistic_function_does(tmp_path: Path) -> None:
    where: dict[str, Any] = {"width": 16, "replicas": 2, "cores": 1}
    ours = rnnlimits.train(loaded(tmp_path), **where)
    theirs = rnnlimits.train(loaded(tmp_path, name="logistic"), backend="numpy", **where)
    for name in ("output", "memory", "loss"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12)


def test_whether_it_is_odd_is_found(tmp_path: Path) -> None:
    assert ACTIVATIONS[loaded(tmp_path, TANH).activation].odd
    assert not ACTIVATIONS[loaded(tmp_path).activation].odd
    text = yaml.safe_dump({**TINY, "network": {"activation": "my.py", "b": {"slope": 0.0}}})
    (tmp_path / "my.py").write_text(TANH)
    with pytest.raises(StudyError, match=r"my\.py is odd"):
        experiments.check(studies.loads(text, tmp_path / "study.yaml"))


def test_the_bytes_of_the_file_are_part_of_every_identity(tmp_path: Path) -> None:
    study = loaded(tmp_path)
    before = plan.draw_id(study)
    assert plan.draw_id(loaded(tmp_path, LOGISTIC + "# edited\n")) != before == plan.draw_id(study)
    (tmp_path / "deep").mkdir()
    (tmp_path / "my.py").write_text(LOGISTIC)
    text = studies.to_yaml(study, tmp_path / "deep")
    assert "activation: ../my.py" in text
    assert plan.draw_id(studies.loads(text, tmp_path / "deep" / "study.yaml")) == before


def test_only_numpy_computes_it(tmp_path: Path) -> None:
    study, said = loaded(tmp_path), list[str]()
    assert study.backend_for("auto", said.append) == study.backend_for("numpy", said.append) == "numpy"
    assert said == ["rnnlimits: --backend numpy: my.py runs in NumPy alone, 10 to 100 times slower"]
    assert said[0].removeprefix("rnnlimits: ") in experiments.of(study).remarks()
    for name in ("host", "cuda"):
        with pytest.raises(StudyError, match=f"my.py, which runs in NumPy alone; --backend is {name}, allowed: numpy"):
            study.backend_for(name)
        with pytest.raises(StudyError, match="runs in NumPy alone"):
            rnnlimits.train(study, width=16, replicas=2, backend=name)


def test_compiled_kernels_stay_the_same(tmp_path: Path) -> None:
    before = source_digest()
    own = ACTIVATIONS[loaded(tmp_path, LOGISTIC + "# one more\n").activation]
    assert source_digest() == before
    with pytest.raises(KernelError, match="is defined in NumPy alone; give the back end numpy"):
        own.macros.items()
    assert kernels.preferred("auto") in kernels.BACKENDS


REFUSED = {
    "value = 3\nslope = 3\nslope_bound = 1\n": "my.py: value is not a function; an activation needs",
    LOGISTIC.replace(
        "slope_bound", "bound"
    ): "my.py: has no name slope_bound; an activation needs the functions value(a)",
    LOGISTIC.replace("0.25", "-1"): "my.py: slope_bound is -1; allowed: a number above 0",
    LOGISTIC.replace("0.25", "0.2"): "my.py: slope_bound is 0.2, but slope is 0.25 in size at a = ",
    LOGISTIC.replace("(1 - value(a))", "(1 - value(a)) / 2"): "differences of value give 0.2",
    LOGISTIC.replace("return 1 /", "return 1 / a * 1 /"): "my.py: value is ",
    "import numpy as np\nslope_bound = 1\nvalue = np.arcsinh\ndef slope(a):\n    return 1 / np.sqrt(1 + a**2)\n": (
        "my.py: value has size 14.51 up to a = 1e+06 and 28.32 up to 1e+12; allowed: a bounded function"
    ),
    "import numpy as np\nslope_bound = 1\ndef value(a):\n    return np.clip(a, -1, 1)\n"
    "def slope(a):\n    return 1.0 * (np.abs(a) < 1)\n": "my.py: slope jumps from ",
    "slope_bound = 1\ndef value(a):\n    return 0 * a\nslope = value\n": "my.py: value is 0 up to",
    LOGISTIC.replace("np.exp(-a)", "np.exp(-a).sum()"): "my.py: value returns float64 of shape () for a of shape (2, ",
    LOGISTIC.replace("np.exp", "np.no"): "my.py: line 8: AttributeError: module 'numpy' has no attribute 'no'",
    "x = (\n": "my.py: line 1: is not Python",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_file_that_breaks_the_contract_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    study = loaded(tmp_path, text)
    with pytest.raises(StudyError) as refused:
        experiments.check(study)
    assert REFUSED[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"no\.py: cannot be read: No such file or directory; network\.activation names"
    ):
        experiments.check(loaded(tmp_path, name="no.py"))
