"""What to cite: this software and the papers whose theory it measures, from CITATION.cff, as entries of BibTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rnnlimits.base.errors import StudyError
from rnnlimits.files.reading import attribute_of, open_complete
from rnnlimits.plan.layout import StudyFolder
from rnnlimits.report.citation import entry
from rnnlimits.results import standing, unpacking
from rnnlimits.run import shipped
from rnnlimits.study import load_any, loads_any

# The papers that a kind of study is about, by the value of the key `experiment`; a kind without a line needs all.
OF_KIND: Mapping[str, tuple[str, ...]] = {"training": ("arXiv:2308.14555",), "rntk": ("arXiv:2006.10246",)}
SKIPPED = {"a", "an", "the", "on", "of"}  # first words of a title that say nothing
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "&%$#_"} | {"{": "", "}": "", "\\": ""})


@dataclass(frozen=True)
class Entry:
    """One entry of BibTeX; fields: values as BibTeX has them, without the outer braces."""

    key: str
    type: str
    fields: Mapping[str, str]

    def __str__(self) -> str:
        return entry(self.type, self.key, self.fields)


@dataclass(frozen=True)
class Subject:
    """What is cited: a kind of study (None: any), and the version and commit that computed its results, if known."""

    kind: str | None = None
    version: str | None = None
    commit: str | None = None


def entries(given: Path | None) -> list[Entry]:
    """The software, then the papers.

    given: a study file, the name of a study that ships, a results folder or a packed file (None: the software in
    general, with all papers). The version is that which computed the results, if there are some, else this one.
    Raises StudyError if it is none of these.
    """
    subject = Subject() if given is None else _subject(given)
    cff: dict[str, Any] = yaml.safe_load(shipped.CITATION.read_text(encoding="utf-8"))
    wanted = OF_KIND.get(subject.kind or "")
    papers = [paper for paper in cff["references"] if wanted is None or paper["notes"] in wanted]
    return [_software(cff, subject), *_papers(papers)]


def _subject(given: Path) -> Subject:
    if not given.is_dir() and not unpacking.is_packed(given):
        return Subject(load_any(shipped.study(given)).experiment)
    with unpacking.folder_of(given, unpacking.RATES) as root:
        study, origin = standing.study_of(root), _origin(StudyFolder(root).rates_h5)
    if study is None and "study_yaml" in origin:  # of stages that were run by hand
        study = loads_any(origin["study_yaml"], given)
    if study is None:
        raise StudyError(f"{given}: has no study.yaml; give results/STUDY, a packed file or a study file")
    commit = origin.get("git_commit")
    return Subject(study.experiment, origin.get("software_version"), None if commit == "unknown" else commit)


def _origin(rates: Path) -> dict[str, str]:
    """What the rates say of the software and of the study that made them; empty where there are none."""
    if not rates.exists():
        return {}
    with open_complete(rates, "rates") as file:
        said = {name: attribute_of(file, name) for name in ("software_version", "git_commit", "study_yaml")}
    return {name: str(value) for name, value in said.items() if value}


def _software(cff: Mapping[str, Any], subject: Subject) -> Entry:
    version = subject.version or cff["version"]
    fields = {
        "author": _authors(cff["authors"]),
        "title": f"{{{_escaped(cff['title'])}}}",
        "version": _escaped(version),
        # Of another version, whose date this one does not know.
        **({"year": str(cff["date-released"])[:4]} if version == cff["version"] else {}),
        "license": _escaped(cff["license"]),
        **({"note": f"commit {_escaped(subject.commit)}"} if subject.commit else {}),
    }
    return Entry("rnnlimits", "software", fields)


def _papers(papers: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """An entry for each paper; a letter is added to a key that another paper has, too."""
    found: dict[str, Entry] = {}
    for paper in papers:
        stem, letters = _key(paper), iter("bcdefghijklmnopqrstuvwxyz")
        key = stem
        while key in found:
            key = stem + next(letters)
        found[key] = Entry(key, "misc", _fields(paper))
    return list(found.values())


def _key(paper: Mapping[str, Any]) -> str:
    """Family name of the first author, year, first word of the title: lam2023kernel."""
    words = re.findall(r"[a-z]+", paper["title"].lower())
    family = re.sub(r"[^a-z]", "", paper["authors"][0]["family-names"].lower())
    return f"{family}{paper['year']}{next(word for word in words if word not in SKIPPED)}"


def _fields(paper: Mapping[str, Any]) -> dict[str, str]:
    archive, _, number = paper["notes"].partition(":")
    return {
        "author": _authors(paper["authors"]),
        "title": f"{{{_escaped(paper['title'])}}}",
        "year": str(paper["year"]),
        "eprint": _escaped(number),
        "archiveprefix": _escaped(archive),
        "url": f"https://arxiv.org/abs/{number}",
    }


def _authors(people: Sequence[Mapping[str, str]]) -> str:
    """Names as BibTeX has them; an organisation in braces, since it has no family name."""
    names = (
        f"{{{_escaped(person['name'])}}}"
        if "name" in person
        else f"{_escaped(person['family-names'])}, {_escaped(person['given-names'])}"
        for person in people
    )
    return " and ".join(names)


def _escaped(text: object) -> str:
    return str(text).translate(SPECIAL)
