"""Small blocks of a study, from which its cost follows: which there are, and what is made of their times."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import predicted_cases
import pytest

from rnnlimits import kernels
from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.training import pilot
from rnnlimits.training.pilot import Point


def test_a_line_is_found_again() -> None:
    """Seconds that are such sums, at four sizes."""
    sizes = [(32, 64), (32, 512), (4, 8192), (2, 64)]
    fixed, step = np.array([2e-3, 1e-4, 1e-7]), np.array([1e-7, 4e-8, 5e-10])
    terms = [np.array([1.0, members, members * units]) for members, units in sizes]
    points = [Point(*size, float(of @ fixed), float(of @ step)) for size, of in zip(sizes, terms, strict=True)]
    found = pilot.line(points)
    np.testing.assert_allclose(found.fixed, fixed, rtol=1e-6)
    np.testing.assert_allclose(found.step, step, rtol=1e-6)
    by_hand = 2e-3 + 16 * 1e-4 + 16 * 4096 * 1e-7 + 8192 * (1e-7 + 16 * 4e-8 + 16 * 4096 * 5e-10)
    assert found.seconds(16, 4096, 8192) == pytest.approx(by_hand)


@pytest.mark.parametrize("times", [(0.0, 0.0), (0.01, 1e-9)])
def test_what_a_line_says_is_never_negative(times: tuple[float, float]) -> None:
    """Of any size, though measured values scatter: here larger blocks took less."""
    fixed, step = times
    found = pilot.line([Point(32, 64, fixed, step), Point(32, 512, 0.5 * fixed, 0.5 * step), Point(2, 64, fixed, step)])
    for members, units in ((1, 1), (32, 10**6), (10**4, 8)):
        assert found.seconds(members, units, 1e6) >= 0


def test_without_a_temporary_folder_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    study = studies.loads(predicted_cases.STUDY, tmp_path / "small.yaml")
    with pytest.raises(StudyError, match=r"^TMPDIR: no temporary folder \(No such file or directory\); set it to one"):
        pilot.measure(study, kernels.backend("numpy"))


@pytest.mark.needs_compiler
@pytest.mark.parametrize("change", ["", "antithetic: false, depth: [1, 2], "])
def test_every_kind_of_block_is_timed_and_nothing_is_left(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(pilot, "ENOUGH", 0.01)
    text = predicted_cases.STUDY.replace("{beta: [0.9],", f"{{{change}beta: [0.9],")
    found = pilot.measure(studies.loads(text, tmp_path / "small.yaml"), kernels.backend("host"))
    depths = (1, 2) if change else (1,)
    by_depth = {(name, depth) for name in ("train", "rich", "tangents") for depth in depths}
    assert set(found.lines) == {("draw", 0), ("twin", 0), *by_depth}
    assert set(found.files) == {"draw", "twin", "train", "rich", "tangents"}
    for line in found.lines.values():
        assert line.seconds(2, 16, 1000) > 0
    assert all(files.shard > 0 and files.ensemble > 0 for files in found.files.values())
    assert not list(tmp_path.iterdir())
