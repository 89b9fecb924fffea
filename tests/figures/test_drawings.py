"""Which figures are drawn, counted by a file that each drawing lengthens: copies of this process draw some of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from rnnlimits.figures import drawings
from rnnlimits.figures.drawings import Drawing, save_all
from rnnlimits.plan.layout import StudyFolder

Draw = Callable[..., str]


@pytest.fixture
def drawn(tmp_path: Path) -> Draw:
    """Saves three figures and returns the names of those that were drawn, sorted."""
    counted, layout = tmp_path / "counted", StudyFolder(tmp_path)

    def figure(name: str) -> Figure:
        with counted.open("a") as file:
            file.write(name)
        return plt.figure(figsize=(1, 1))

    def save(names: str = "abc", study: str = "0123456789ab", **shows: str) -> str:
        counted.write_text("")
        every = [Drawing(name, lambda name=name: figure(name), shows.get(name, "")) for name in names]  # type: ignore[misc]
        assert save_all(layout, study, every) == list(names)
        assert {path.name for path in layout.figures.iterdir()} == {f"{n}.{s}" for n in names for s in ("svg", "png")}
        return "".join(sorted(counted.read_text()))

    return save


def test_a_figure_is_drawn_again_if_it_shows_something_else(drawn: Draw) -> None:
    assert drawn() == "abc"
    assert drawn() == ""
    assert drawn(b="other values") == "b"
    assert drawn(b="other values") == ""


def test_a_figure_is_drawn_again_if_a_file_of_it_is_missing_or_cut_off(drawn: Draw, tmp_path: Path) -> None:
    drawn()
    (tmp_path / "figures" / "a.png").unlink()
    (tmp_path / "figures" / "c.svg").write_text("<svg>")
    assert drawn() == "ac"


def test_all_figures_carry_the_study_the_names_of_all_and_the_code(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn()
    assert drawn(study="ba9876543210") == "abc"
    assert drawn("ab", study="ba9876543210") == "ab"
    monkeypatch.setattr(drawings, "_code", lambda: "another version")
    assert drawn("ab", study="ba9876543210") == "ab"


def test_what_a_copy_of_the_process_fails_at_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, every = os.getpid(), [Drawing(name, plt.figure, "") for name in "abcd"]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})

    def save(one: Drawing) -> None:
        if os.getpid() != here:
            os._exit(3)
        (tmp_path / one.name).touch()

    drawings.on_all_cores(save, every)
    assert sorted(path.name for path in tmp_path.iterdir()) == list("abcd")


def test_an_error_in_a_copy_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def save(one: Drawing) -> None:
        if one.name == "b":
            raise ValueError(one.name)

    with pytest.raises(ValueError, match="b"):
        drawings.on_all_cores(save, [Drawing(name, plt.figure, "") for name in "ab"])
