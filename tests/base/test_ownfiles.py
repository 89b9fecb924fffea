"""Python files of the user's own: what is refused, with which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnlimits.base import ownfiles
from rnnlimits.base.errors import StudyError


def refusal(path: Path) -> str:
    with pytest.raises(StudyError) as refused:
        ownfiles.module(ownfiles.read(path, "chain.file"))
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\ny = (\n", "my.py: line 2: is not Python: '(' was never closed"),
        ("x = 1\n\n1 / 0\n", "my.py: line 3: ZeroDivisionError: division by zero"),
        ("def f():\n    raise ValueError('two\\nlines')\n\n\nf()\n", "my.py: line 2: ValueError: two lines"),
        ("import sys\nsys.exit(0)\n", "my.py: line 2: SystemExit: 0"),
        (
            "import neighbour\n",
            "my.py: line 1: ModuleNotFoundError: No module named 'neighbour'; a file of your own can import installed"
            " packages, not files next to it",
        ),
    ],
)
def test_a_file_that_cannot_be_run_is_refused_with_its_line(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").touch()
    (tmp_path / "my.py").write_text(text)
    assert refusal(tmp_path / "my.py") == line


def test_what_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_bytes(b"x = 1\0")
    assert "is not Python" in refusal(tmp_path / "my.py")
    words = "no.py: cannot be read: No such file or directory; chain.file names it, relative to the study file"
    assert refusal(tmp_path / "no.py") == words
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_a_file_is_run_once_and_again_when_it_is_edited(tmp_path: Path) -> None:
    path = tmp_path / "my.py"
    path.write_text("x = []\n")
    file = ownfiles.read(path, "quantities")
    assert ownfiles.module(file).x is ownfiles.module(ownfiles.read(path, "quantities")).x
    path.write_text("x = [1]\n")
    assert ownfiles.module(file).x == []  # whoever has read it keeps what was read
    assert ownfiles.module(ownfiles.read(path, "quantities")).x == [1]
