"""Copies of shipped files to edit: a study, an atlas, a cluster profile, a template of a site."""

from __future__ import annotations

import re
from pathlib import Path

from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.run import shipped
from rnnlimits.study.text import parse

FOR_EDITORS = "# yaml-language-server: $schema=schema.json"


def make(name: str, place: Path) -> list[Path]:
    """Write a copy of the shipped `name` to `place`; returns every file that was written.

    A study is named after its file, so that its results are kept apart from those of the original; its recorded series
    is copied too. Raises StudyError: no such name, the file exists already, the folder cannot be written.
    """
    paths = {**shipped.studies(), **shipped.atlases(), **shipped.profiles(), **shipped.sites()}
    if name not in paths:
        raise StudyError(f"{name}: is not a shipped name; allowed: {', '.join(paths)}")
    source = paths[name]
    if source.is_dir():
        texts = {place / file.name: file.read_text(encoding="utf-8") for file in sorted(source.glob("*.yaml"))}
        # The profile names its own folder, which must be the copy for Snakemake's own command.
        site = f"cluster/{name}"
        texts = {path: text.replace(f'["site={site}"]', f'["site={place}"]') for path, text in texts.items()}
    elif name in shipped.studies():
        texts = {**_study(source, place), **_data(source, place)}
    else:
        texts = {place: source.read_text(encoding="utf-8")}
    return _write(texts)


def _study(source: Path, place: Path) -> dict[Path, str]:
    text = source.read_text(encoding="utf-8")
    # By its name alone, as a path would be that of this machine.
    text = text.replace(FOR_EDITORS, f"{FOR_EDITORS}\n# (rnnlimits schema > schema.json writes that file)", 1)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", place.stem)
    return {place: re.sub(r"^name: .*$", f"name: {name}", text, count=1, flags=re.MULTILINE)}


def _data(source: Path, place: Path) -> dict[Path, str]:
    """The series that a study reads, from the folder of the study."""
    raw = parse(source.read_text(encoding="utf-8"), str(source))
    chain = raw.get("chain", {}) if isinstance(raw, dict) else {}
    file = chain.get("file")
    return {place.parent / file: (source.parent / file).read_text(encoding="utf-8")} if file else {}


def _write(texts: dict[Path, str]) -> list[Path]:
    for path in texts:
        if path.exists():
            raise StudyError(f"{path}: exists already; remove it, or choose another place")
    for path, text in texts.items():
        durable.require_folder(path)
        durable.write_bytes(path, text.encode())
    return list(texts)
