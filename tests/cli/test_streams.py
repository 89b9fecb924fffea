"""Standard output that is full, closed, or knows few letters."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from runs import ENVIRONMENT, HANG, PROGRAM


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which $P is the program."""
    settings = {**ENVIRONMENT, "P": " ".join(PROGRAM), **environment}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=settings, capture_output=True, timeout=HANG)


@pytest.mark.parametrize("verb", ["schema", "studies"])  # more and less than a buffer
def test_a_full_disk_is_one_line(verb: str, tmp_path: Path) -> None:
    done = shell(f"$P {verb} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"rnnlimits: stdout: cannot be written: No space left on device")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("line", ["$P schema >&-", "$P schema 2>&-", "$P schema | head -1; exit ${PIPESTATUS[0]}"])
def test_closed_streams_are_no_error(line: str, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_is_closed_is_open_to_nowhere_for_all_that_is_started(tmp_path: Path) -> None:
    """Or the first files that are opened would be standard output, of this process and of others."""
    code = (
        "import os, subprocess; from rnnlimits.base import surroundings; surroundings.enter();"
        "subprocess.run(['ls', '-l', '/proc/self/fd/'], stdout=open('seen', 'w'));"
        "print(*(os.readlink(f'/proc/self/fd/{n}') for n in range(3)), file=open('own', 'w'))"
    )
    program = f"{sys.executable} -P -c {shlex.quote(code)}"
    shell(f"{program} <&- >&- 2>&-", tmp_path)
    assert (tmp_path / "own").read_text(encoding="utf-8").split() == ["/dev/null"] * 3
    seen = (tmp_path / "seen").read_text(encoding="utf-8")
    assert "0 -> /dev/null" in seen
    assert "2 -> /dev/null" in seen


def test_letters_that_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "é.yaml").write_text("name: [", encoding="utf-8")
    done = shell("$P check é.yaml; $P completion bash; $P studies --json", tmp_path, PYTHONIOENCODING="ascii")
    assert done.stderr.startswith(b"rnnlimits: \\xe9.yaml: line 1")
    assert json.loads(done.stdout[done.stdout.index(b"\n{\n") :])["studies"]
