"""The copy of a study in its results folder, study.yaml, and what shows its text."""

from __future__ import annotations

from pathlib import Path

from rnnlimits.files.identities import mark
from rnnlimits.study import AnyStudy, to_yaml
from rnnlimits.study.identity import identity


def copy_of(study: AnyStudy, folder: Path) -> str:
    """The text of study.yaml in `folder`: the study's identity in a comment, then every key, defaults included."""
    return f"# {mark(study_id=study.identity)}\n{to_yaml(study, folder)}"


def text_id(study: AnyStudy, folder: Path) -> str:
    """12 hexadecimal digits of the text of the copy: of keys that change no number too, such as the name."""
    return identity({"text": to_yaml(study, folder)})


def page_mark(study: AnyStudy, folder: Path) -> str:
    """The mark of a page that shows the copy."""
    return mark(study_id=study.identity, text_id=text_id(study, folder))
