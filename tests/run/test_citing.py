"""What `cite` prints: BibTeX that parses, says what CITATION.cff says, and names what computed the results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stand_ins
import yaml
from every_key import BASES, at
from runs import ROOT

from rnnlimits.base.errors import StudyError
from rnnlimits.cli import main
from rnnlimits.files import store
from rnnlimits.results.packing import pack
from rnnlimits.run import citing
from rnnlimits.statistics import ratefile

CFF = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
LAM, ALEMOHAMMAD = "lam2023kernel", "alemohammad2020recurrent"

Parsed = dict[str, tuple[str, dict[str, str]]]


def parsed(text: str) -> Parsed:
    """Type and fields of each entry by its key, read letter by letter; raises for anything that is no BibTeX."""
    found: Parsed = {}
    while text := text.strip():
        assert text[0] == "@"
        kind, _, rest = text[1:].partition("{")
        body, text = braced("{" + rest)
        key, _, body = body.partition(",")
        assert kind.isalpha()
        assert key.isalnum()
        assert key not in found, "two entries of one key"
        found[key] = kind, fields(body)
    return found


def fields(body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    while body := body.strip():
        name, equals, rest = body.partition("=")
        value, rest = braced(rest.lstrip())
        assert equals
        assert name.strip().isalpha()
        assert name.strip() not in found
        found[name.strip()] = value
        assert not rest or rest[0] == ","
        body = rest[1:]
    return found


def braced(text: str) -> tuple[str, str]:
    """What the braces at the beginning contain, and what follows them."""
    assert text[0] == "{"
    depth = 0
    for at_, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return text[1:at_], text[at_ + 1 :]
    raise AssertionError("a brace is not closed")


def cited(given: Path | None) -> Parsed:
    return parsed("\n\n".join(map(str, citing.entries(given))))


def test_everything_of_the_citation_file_is_cited() -> None:
    found = cited(None)
    assert [*found] == ["rnnlimits", LAM, ALEMOHAMMAD]
    kind, software = found["rnnlimits"]
    assert kind == "software"
    assert software["version"] == CFF["version"]
    assert software["title"] == f"{{{CFF['title']}}}"
    assert software["author"] == "{The rnnlimits authors}"
    for paper, (_, said) in zip(CFF["references"], [found[LAM], found[ALEMOHAMMAD]], strict=True):
        assert said["title"] == f"{{{paper['title']}}}"
        assert f"{said['archiveprefix']}:{said['eprint']}" == paper["notes"]
        assert said["year"] == str(paper["year"])
        names = [tuple(name.split(", ")) for name in said["author"].split(" and ")]
        assert names == [(one["family-names"], one["given-names"]) for one in paper["authors"]]


@pytest.mark.parametrize(("name", "paper"), [("demo", LAM), ("rntk", ALEMOHAMMAD)])
def test_a_study_cites_the_paper_of_its_kind(
    name: str, paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [*cited(Path(name))] == ["rnnlimits", paper]
    assert [*cited(ROOT / "config" / f"{name}.yaml")] == ["rnnlimits", paper]


def test_every_paper_of_a_kind_is_in_the_citation_file() -> None:
    notes = {paper["notes"] for paper in CFF["references"]}
    assert {paper for papers in citing.OF_KIND.values() for paper in papers} <= notes
    assert citing.OF_KIND.keys() == BASES.keys()


def test_results_name_the_version_that_computed_them(tmp_path: Path) -> None:
    root = tmp_path / "results" / "tiny"
    experiment = at(BASES["rntk"], root)
    stand_ins.finish(experiment)
    attrs = {**store.provenance(experiment.study, ["test"]), "software_version": "0.0.9", "git_commit": "ab_c{1}"}
    ratefile.write_h5(experiment.layout.rates_h5, attrs, [])
    ratefile.write_csv(experiment.layout.rates_csv, [])
    pack(root, tmp_path / "one.h5")
    for given in (root, tmp_path / "one.h5"):
        found = cited(given)
        assert [*found] == ["rnnlimits", ALEMOHAMMAD]
        assert found["rnnlimits"][1]["version"] == "0.0.9"
        assert found["rnnlimits"][1]["note"] == r"commit ab\_c1"
        assert "year" not in found["rnnlimits"][1]  # that of another version


def test_keys_stay_unique_and_letters_safe() -> None:
    paper = {"title": "The {Kernel} & 100% of #it", "year": 2023, "notes": "arXiv:1", "authors": CFF["authors"]}
    paper |= {"authors": [{"family-names": "O'Neill_X", "given-names": "Ann"}]}
    entries = citing._papers([paper, paper, paper])
    found = parsed("\n".join(map(str, entries)))
    assert [*found] == ["oneillx2023kernel", "oneillx2023kernelb", "oneillx2023kernelc"]
    assert found["oneillx2023kernel"][1]["title"] == r"{The Kernel \& 100\% of \#it}"


def test_json_has_the_same_entries(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["entries"]
    assert {one["key"]: (one["type"], one["fields"]) for one in found} == cited(None)


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"has no study\.yaml; give results/STUDY, a packed file or a study file"):
        citing.entries(tmp_path)
    with pytest.raises(StudyError, match="is neither a file here nor a study that ships"):
        citing.entries(Path("nonesuch"))
