"""A step from a file of the user's own: the same paths as a kind with that step, and what is refused in one line."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from chain_studies import REPLICAS, SEED, study_of

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths
from rnnlimits.chains.base import Stretch
from rnnlimits.study import Study
from rnnlimits.training import plan
from rnnlimits.training.checks import check

NETWORK = "network: {b: {offset: 0.2, slope: 0.5}}\nprobes: {length: 20}\n"
HALF = "def step(h, xi):\n    return 0.5 * h + xi\n"
LINEAR = "{kind: linear-gaussian, a: 0.5, q: 1.0}"


def with_step(text: str, folder: Path, keys: str = "", more: str = NETWORK) -> Study:
    study = study_of(f"{{kind: python, file: my.py{keys}}}", folder, more)
    (folder / "my.py").write_text(text)
    return study


def walk(study: Study, steps: int) -> Stretch:
    return paths.of(study).paths(kernels.backend("numpy"), SEED, Stream.CHAIN_NOISE, REPLICAS).take(steps)


def test_it_walks_like_the_linear_chain_that_it_is(tmp_path: Path) -> None:
    """With a bound of 1/2 the burn-in is that of the linear chain, so that paths have the same noise from the start."""
    ours = walk(with_step(f"lipschitz = 0.5\n{HALF}", tmp_path), 40)
    for found, expected in zip(ours, walk(study_of(LINEAR, tmp_path), 40), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_hidden_components_and_further_noise(tmp_path: Path) -> None:
    text = "import numpy as np\n\nstart = [0, 1, 2]\n\n\ndef step(h, xi):\n    return 0.1 * h + xi[:, [0, 1, 4]]\n"
    x, z, _ = walk(with_step(text, tmp_path, ", dimension: 2, hidden: 1, normals: 5"), 3)
    assert (x.shape, z.shape) == ((3, 3, 2), (3, 3, 1))


def test_only_the_bytes_of_the_file_matter(tmp_path: Path) -> None:
    before = plan.draw_id(with_step(HALF, tmp_path))
    assert plan.draw_id(with_step(HALF + "# edited\n", tmp_path)) != before
    (tmp_path / "other.py").write_text(HALF)
    assert plan.draw_id(study_of("{kind: python, file: other.py}", tmp_path, NETWORK)) == before


def test_a_study_keeps_the_step_that_it_was_first_used_with(tmp_path: Path) -> None:
    study = with_step(HALF, tmp_path)
    before = plan.draw_id(study), walk(study, 3)[0]
    (tmp_path / "my.py").write_text(HALF.replace("0.5", "0.4"))
    np.testing.assert_array_equal(walk(study, 3)[0], before[1])
    assert plan.draw_id(study) == before[0]
    assert plan.draw_id(pickle.loads(pickle.dumps(study))) == before[0]  # as it gets to the other ranks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"lipschitz = 0.5\n{HALF}", "multiplies the distance of two paths with the same noise by at most 0.5 (lipsch"),
        (HALF, "the chain's top Lyapunov exponent is -0.693 +- "),
        ("import numpy as np\ndef step(h, xi):\n    return 0.9 * np.tanh(h) + xi\n", "it contracts (by simulation)"),
    ],
)
def test_check_says_how_it_contracts(text: str, words: str, tmp_path: Path) -> None:
    study = with_step(text, tmp_path)
    assert words in check(study)[0]
    (line,) = study.chain.findings(study.source)
    assert "runs in NumPy on the processor, slower than compiled chains" in line


GROWING = {
    "by its bound": ("lipschitz = 1.5\n" + HALF, "with the same noise by at most 1.5, allowed: below 1"),
    "expanding": ("import numpy as np\ndef step(h, xi):\n    return 3 * np.sin(2 * h) + xi\n", "does not contract"),
    "two wells": (
        "import numpy as np\ndef step(h, xi):\n    return np.where(h > 0, 3, -3) + 0.2 * (h + np.tanh(xi))\n",
        "the chain does not forget its start",
    ),
}


@pytest.mark.parametrize("case", GROWING)
def test_a_step_that_does_not_forget_its_start_is_refused_unless_allowed(case: str, tmp_path: Path) -> None:
    text, words = GROWING[case]
    start = "start = [0]\n" if case != "two wells" else ""
    text = text.replace("h > 0", "h + xi * (h == 0) > 0")  # either well at the first step
    with pytest.raises(StudyError, match=r"use a step that contracts more, or set allow_noncontracting") as refused:
        check(with_step(start + text, tmp_path))
    assert words in str(refused.value)
    check(with_step(start + text, tmp_path, more=f"{NETWORK}allow_noncontracting: true\n"))


REFUSED = {
    "def stop(h, xi):\n    return h\n": "my.py: has no name step; chain.kind python needs a function step(h, xi)",
    "step = 3\n": "my.py: has a step that is not a function",
    f"start = [1, 2]\n{HALF}": "my.py: start is [1, 2]; allowed: 1 finite numbers",
    f"lipschitz = -1\n{HALF}": "my.py: lipschitz is -1; allowed: a finite number, 0 or above",
    f"lipschitz = 0.4\n{HALF}": "lipschitz is 0.4, but a step multiplied the distance of two states by 0.5; allowed",
    "def step(h, xi):\n    return h[:, 0]\n": "my.py: step returns float64 of shape (256,) for h (256, 1)",
    "def step(h, xi):\n    return h + 1j\n": "my.py: step returns complex128 of shape (256, 1)",
    "def step(h, xi):\n    return None\n": "my.py: step returns object of shape ()",
    "def step(h, xi):\n    return h * 1e9 + xi\n": "my.py: step returns values that are not finite; allowed: finite",
    "def step(h, xi):\n    h += xi\n    return h\n": "my.py: line 2: ValueError: output array is read-only",
    "def step(h):\n    return h\n": "my.py: TypeError: step() takes 1 positional argument but 2 were given",
    "def step(h, xi):\n    return 1 // 0\n": "my.py: line 2: ZeroDivisionError",
    "from random import gauss\ndef step(h, xi):\n    return h + gauss()\n": "returns other states for the same h",
    "def step(h, xi):\n    return 0.5 * h + xi.mean()\n": "my.py: step mixes its rows; allowed: each row",
    "x = (\n": "my.py: line 1: is not Python",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_step_that_breaks_the_contract_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    study = with_step(text, tmp_path)
    with pytest.raises(StudyError) as refused:
        check(study)
    assert REFUSED[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no\.py: cannot be read: No such file or directory; chain\.file names it"):
        check(study_of("{kind: python, file: no.py}", tmp_path, NETWORK))


def test_a_step_that_leaves_the_numbers_later_is_refused_on_the_way(tmp_path: Path) -> None:
    text = "import numpy as np\ndef step(h, xi):\n    return np.where(np.abs(xi) > 4.5, np.inf, 0.5 * h)\n"
    study = with_step(f"lipschitz = 0.5\n{text}", tmp_path)
    be, replicas = kernels.backend("numpy"), np.arange(256, dtype=np.uint32)
    with pytest.raises(StudyError, match=r"my\.py: step returns values that are not finite"):
        paths.of(study).paths(be, SEED, Stream.CHAIN_NOISE, replicas).take(4000)
