"""The command line as people and scripts meet it: help, streams, JSON, completion, what is left behind."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from runs import ENVIRONMENT, HANG, ROOT, run, write_rntk, write_study

from rnnlimits.cli import main
from rnnlimits.cli.page import GROUPS, every_verb, parser
from rnnlimits.run import shipped
from rnnlimits.statistics import ratefile
from rnnlimits.statistics.ratefile import Rate
from rnnlimits.study import load_any

ROWS, COLUMNS = 24, 80
GUIDE = (ROOT / "docs" / "command-line.md").read_text() + (ROOT / "docs/watch-and-compare.md").read_text()


def parsers(found: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every verb and its parser, also verbs below verbs."""
    yield name, found
    for action in found._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from parsers(below, f"{name} {word}".strip())


NAMES = [name for name, _ in parsers(parser()) if name]


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: object
    stdout: str
    stderr: str


Ask = Callable[..., Said]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Gives a command of `rnnlimits`, in this process, in a folder and with variables of the environment."""

    def give(folder: Path, *words: object, code: int = 0, **variables: str) -> Said:
        monkeypatch.chdir(folder)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        try:
            ended: object = main([str(word) for word in words])
        except SystemExit as error:  # how argparse and the doctor end
            ended = error.code
        done = Said(ended, *capfd.readouterr())
        assert done.code == code, done.stderr
        return done

    return give


# --- help ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_is_one_screen(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.rstrip("\n").split("\n")
    assert len(lines) <= ROWS
    assert max(map(len, lines)) <= COLUMNS
    assert any(line.startswith(("example: ", "Start with: ")) for line in lines)


def test_the_page_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    page = capsys.readouterr().out
    assert {verb.name for verb in every_verb()} == {name for name in NAMES if " " not in name}
    for verb in every_verb():
        assert re.search(rf"\b{verb.name}\b", page), verb.name
    for group in GROUPS:
        assert re.search(rf"^{group} ", page, flags=re.MULTILINE)
    assert "Exit codes: 0 done, 1 " in page


def test_help_imports_neither_arrays_nor_files_nor_models() -> None:
    """So that it takes a tenth of a second; in a process of its own, as this one has imported all of them."""
    asked = "import sys; from rnnlimits.cli.entry import main; print(*sys.modules, file=sys.stderr); main(['--help'])"
    done = subprocess.run([sys.executable, "-c", asked], env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG)
    assert done.stdout.startswith("usage: rnnlimits VERB")
    loaded = set(done.stderr.split())
    assert "rnnlimits.cli.page" in loaded
    assert not loaded & {"numpy", "h5py", "scipy", "pydantic", "yaml", "matplotlib", "mpi4py", "rich", "snakemake"}


@pytest.mark.parametrize("name", ["", "plan", "run", "rntk classify"])
def test_help_in_a_narrow_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    text = capsys.readouterr().out.split("example: ")[0]  # an example is one piece, which is copied
    lines = [line for line in text.splitlines() if not line.startswith("usage: ")]
    assert len(lines) > 5
    assert max(map(len, lines)) <= 40 + 10  # a description of one line is left whole


def test_the_examples_are_understood() -> None:
    """Every example of a help text parses: no option is called by a name that it no longer has."""
    texts = [found.epilog or "" for name, found in parsers(parser()) if name]
    for text in texts:
        example = re.match(r"example: (.*)", text)
        if example is None:
            continue
        command = example[1].removeprefix("mpiexec -n 2 ").removeprefix('eval "$(').removesuffix(')"')
        words = command.split(" > ")[0].split()
        assert words[0] == "rnnlimits"
        parser().parse_args(words[1:])


# --- what ships ------------------------------------------------------------------------------------------------


def test_a_word_is_the_study_that_ships(tmp_path: Path, ask: Ask) -> None:
    done = ask(tmp_path, "check", "rntk")
    path = ROOT / "config" / "rntk.yaml"
    assert done.stderr == f"rntk: the study that ships with rnnlimits ({path})\n"
    assert done.stdout.endswith(f"{path}: good\n")


def test_a_file_of_that_name_wins(tmp_path: Path, ask: Ask) -> None:
    write_study(tmp_path).rename(tmp_path / "rntk")
    done = ask(tmp_path, "check", "rntk")
    assert done.stderr == ""
    assert "rntk: good" in done.stdout


def test_a_folder_of_that_name_does_not(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "rntk").mkdir()
    assert "rntk.yaml: good" in ask(tmp_path, "check", "rntk").stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["check", "nonesuch"], ["demo", "full", "recorded"]),
        (["atlas", "nonesuch"], ["atlas-small"]),
        (["run", "demo", "--profile", "nonesuch"], ["slurm", "slurm-gpu"]),
        (["new", "nonesuch", "x.yaml"], ["demo", "sites/gpu-4", "slurm"]),
    ],
)
def test_an_unknown_name_is_told_those_that_ship(tmp_path: Path, words: list[str], named: list[str], ask: Ask) -> None:
    done = ask(tmp_path, *words, code=2)
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert all(re.search(rf"[ ,]{name}(,|$)", last) for name in named), last
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_what_ships_is_whole(tmp_path: Path, ask: Ask) -> None:
    files = {path.stem for path in (ROOT / "config").glob("*.yaml")}
    assert set(shipped.studies()) | set(shipped.atlases()) == files
    assert set(shipped.profiles()) == {path.parent.name for path in (ROOT / "cluster").glob("*/config.yaml")}
    assert {f"sites/{path.stem}" for path in (ROOT / "cluster" / "sites").iterdir()} == set(shipped.sites())
    listed = json.loads(ask(tmp_path, "studies", "--json").stdout)
    assert [one["name"] for one in listed["studies"]] == list(shipped.studies())
    assert all(one["about"] for kind in ("studies", "atlases", "profiles") for one in listed[kind])


@pytest.mark.parametrize("name", sorted(shipped.studies()))
def test_a_copy_is_the_same_study_under_its_own_name(tmp_path: Path, name: str, ask: Ask) -> None:
    made = ask(tmp_path, "new", name, tmp_path / "deep" / "my own.yaml").stdout.splitlines()
    copy = load_any(tmp_path / "deep" / "my own.yaml")
    original = load_any(shipped.studies()[name])
    assert copy.name == "my-own"
    assert copy.model_dump(exclude={"name"}) == original.model_dump(exclude={"name"})
    assert all(Path(path).is_file() for path in made)
    assert len(made) == 1 + (name == "recorded")
    before = (tmp_path / "deep" / "my own.yaml").read_bytes()
    assert not any(re.search(rb"[ =]/", line) for line in before.splitlines())  # no path of this machine
    again = ask(tmp_path, "new", name, tmp_path / "deep" / "my own.yaml", code=2)
    assert "exists already" in again.stderr
    assert (tmp_path / "deep" / "my own.yaml").read_bytes() == before


def test_a_copy_of_a_profile_names_its_own_folder(tmp_path: Path, ask: Ask) -> None:
    ask(tmp_path, "new", "slurm", "mine")
    config = yaml.safe_load((tmp_path / "mine" / "config.yaml").read_text())
    assert config["config"] == ["site=mine"]
    assert (tmp_path / "mine" / "site.yaml").read_bytes() == (ROOT / "cluster/slurm/site.yaml").read_bytes()
    assert "core-hours" in ask(tmp_path, "plan", "demo", "--cluster", "mine").stdout


# --- streams and exit codes --------------------------------------------------------------------------------------

FAILING = {
    "check": ["check", "bad.yaml"],
    "plan": ["plan", "bad.yaml"],
    "plan --json": ["plan", "bad.yaml", "--json"],
    "run": ["run", "bad.yaml"],
    "run --resolve": ["run", "bad.yaml", "--resolve", "0.1"],
    "memory": ["memory", "bad.yaml"],
    "atlas": ["atlas", "bad.yaml"],
    **{
        stage: [stage, "bad.yaml"]
        for stage in ("draw", "twin", "train", "limit", "poisson", "rates", "figures", "report")
    },
    "work": ["work", "bad.yaml", "draw"],
    "watch": ["watch", "none"],
    "watch --json": ["watch", "none", "--json"],
    "compare": ["compare", "none", "nothing"],
    "compare --json": ["compare", "none", "nothing", "--json"],
    "summary": ["summary", "none"],
    "summary --json": ["summary", "none", "--json"],
    "inspect": ["inspect", "none.h5"],
    "inspect --json": ["inspect", "none.h5", "--json"],
    "digest": ["digest", "none.h5"],
    "pack": ["pack", "none", "out.h5"],
    "unpack": ["unpack", "none.h5"],
    "cite": ["cite", "none.yaml"],
    "cite --json": ["cite", "none.yaml", "--json"],
    "doctor": ["doctor", "--backend", "nonesuch"],
    "new": ["new", "nonesuch", "x"],
    "rntk classify": ["rntk", "classify", "NoSuchSet"],
    "unknown verb": ["nonesuch"],
    "unknown option": ["check", "--nonesuch"],
    "unknown shell": ["completion", "nonesuch"],
}


@pytest.mark.parametrize("words", FAILING.values(), ids=FAILING.keys())
def test_a_refusal_says_so_on_stderr_alone(words: list[str], tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\nnonesuch: 1\n")
    done = ask(tmp_path, *words, code=2)
    assert done.stdout == ""
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_every_verb_is_audited() -> None:
    """A new verb has a line in FAILING, or is one that takes nothing that could be wrong."""
    asked = {name.partition(" --")[0] for name in FAILING}
    assert set(NAMES) - asked == {"studies", "schema", "rntk", "completion", "validate"}


# --- finished results ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a results folder that has rates, the limit of a tiny study, and nothing else."""
    folder = tmp_path_factory.mktemp("finished")
    study = write_study(folder)
    write_rntk(folder)
    for stage in ("draw", "limit"):
        run(stage, study, "--backend", "numpy", cwd=folder)
    rates = [
        example("output_rms", 0.25),
        Rate("tiny", "drift", "plain", "N", "beta=0.75 probe=1", note="refused: too few"),
    ]
    ratefile.write_h5(folder / "results" / "tiny" / "rates.h5", _attributes(folder), rates)
    shutil.copytree(folder / "results" / "tiny", folder / "elsewhere" / "tiny")
    return folder


def example(quantity: str, value: float) -> Rate:
    """A rate that is as predicted, 0.02 more or less."""
    ends = {"stderr": 0.01, "ci_low": value - 0.02, "ci_high": value + 0.02, "expected": value, "predicted": value}
    return Rate(
        "tiny", quantity, "plain", "N", "beta=0.75", value, expected_kind="exact", verdict="as predicted", **ends
    )


def _attributes(folder: Path) -> dict[str, object]:
    import h5py

    with h5py.File(folder / "results" / "tiny" / "limit.h5") as file:
        skipped = {"format", "format_version", "kind", "complete"}
        return {name: value for name, value in file.attrs.items() if name not in skipped}


LOOKS = {
    "studies": ["studies"],
    "check": ["check", "tiny.yaml"],
    "plan": ["plan", "tiny.yaml", "--backend", "numpy"],
    "plan of the recurrent NTK": ["plan", "tiny-rntk.yaml"],
    "summary": ["summary", "results/tiny"],
    "watch": ["watch", "results/tiny", "--study", "tiny.yaml", "--once"],
    "compare": ["compare", "results/tiny", "elsewhere/tiny"],
    "validate": ["validate", "results/tiny"],
    "inspect": ["inspect", "results/tiny/limit.h5"],
    "inspect a folder": ["inspect", "results/tiny"],
    "digest": ["digest", "results/tiny"],
    "cite": ["cite", "results/tiny"],
    "schema": ["schema"],
    "completion": ["completion", "bash"],
    "doctor": ["doctor", "--backend", "numpy"],
}
JSON = [name for name in LOOKS if name not in ("check", "schema", "completion")]


def everything_below(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("words", LOOKS.values(), ids=LOOKS.keys())
def test_a_look_prints_on_stdout_and_leaves_nothing(words: list[str], finished: Path, ask: Ask) -> None:
    before = everything_below(finished)
    done = ask(finished, *words)
    assert done.stdout.strip()
    # The doctor may be the first that needs the kernels.
    assert [line for line in done.stderr.splitlines() if not line.startswith("rnnlimits: compiling kernels")] == []
    after = everything_below(finished)
    assert after.keys() == before.keys()
    # A folder's own time changes where the doctor has tried to write in it, and taken the trial away again.
    assert {name for name in before if after[name] != before[name] and (finished / name).is_file()} == set()


@pytest.mark.parametrize("name", JSON)
def test_json_is_one_strict_document(name: str, finished: Path, ask: Ask) -> None:
    done = ask(finished, *LOOKS[name], "--json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads(done.stdout, parse_constant=refuse)
    assert done.stderr == ""
    for key in keys(found):
        assert f"`{key}`" in GUIDE, f"neither docs/command-line.md nor docs/watch-and-compare.md says what {key} is"


FOREIGN = ("files", "digests", "dimensions", "attributes", "half_widths", "fields")


def keys(document: object) -> Iterator[str]:
    """Every key that is a name of ours: not those that are files, dimensions or attributes."""
    if isinstance(document, list):
        for member in document[:1]:
            yield from keys(member)
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key not in FOREIGN or isinstance(value, list):
                yield from keys(value)


def test_json_says_what_the_table_says(finished: Path, ask: Ask) -> None:
    found = json.loads(ask(finished, "summary", "results/tiny", "--json").stdout)
    assert [rate["exponent"] for rate in found["rates"]] == [0.25, None]
    assert list(found["rates"][0]) == list(ratefile.COLUMNS)
    assert found["files"]["limit.h5"] == "results/tiny/limit.h5"
    digests = json.loads(ask(finished, "digest", "results/tiny", "--json").stdout)["digests"]
    lines = ask(finished, "digest", "results/tiny").stdout.splitlines()
    assert [f"{digest}  {file}" for file, digest in digests.items()] == lines
    plan = json.loads(ask(finished, "plan", "tiny.yaml", "--backend", "numpy", "--json").stdout)
    table = ask(finished, "plan", "tiny.yaml", "--backend", "numpy").stdout
    assert [pack["pack"] for pack in plan["packs"]] == re.findall(r"^N\d+-K\d+", table, flags=re.MULTILINE)
    assert plan["study_id"] in table


def test_faults_are_in_the_document_and_the_exit_code(finished: Path, tmp_path: Path, ask: Ask) -> None:
    broken = tmp_path / "limit.h5"
    broken.write_bytes((finished / "results/tiny/limit.h5").read_bytes()[:1000])
    done = ask(tmp_path, "validate", broken, "--json", code=2)
    found = json.loads(done.stdout)
    assert (found["valid"], len(found["faults"])) == (False, 1)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["plan", "summary", "inspect", "inspect a folder", "plan of the recurrent NTK"])
def test_narrow_terminals(name: str, finished: Path, ask: Ask) -> None:
    plain, narrow = (ask(finished, *LOOKS[name], COLUMNS=width).stdout for width in ("200", "40"))
    assert max(map(len, plain.splitlines())) > 40
    if "plan" in name:
        table = narrow.split("core-hours")[0].split("core time: at")[0].splitlines()[:-1]
        assert table
        assert max(map(len, table)) <= 40
    numbers = re.compile(r"N\d{5}-K\d{5}|0\.250 ± 0\.020|beta=0\.75")
    assert set(numbers.findall(plain)) == set(numbers.findall(narrow))


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_table_of_rates_fits_its_terminal(width: int) -> None:
    rates = [example("drift", 0.6), example("drift", 0.75)]
    lines = ratefile.table(rates, room=width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert ("extrapolated" in text) == (width == 200)
    for needed in ("0.600 ± 0.020", "0.6 (exact)", "0.75 (exact)", "drift in N (plain)"):
        assert needed in text


def test_no_escape_sequences(finished: Path, ask: Ask) -> None:
    for words in LOOKS.values():
        if words[0] not in ("completion", "doctor"):
            assert "\x1b" not in ask(finished, *words, NO_COLOR="1").stdout


def test_no_color_reaches_snakemake(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlimits.run import workflow

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert workflow.colours() == []
    monkeypatch.setenv("NO_COLOR", "1")
    assert workflow.colours() == ["--nocolor"]


# --- completion ------------------------------------------------------------------------------------------------------


def completed(folder: Path, script: str, *words: str) -> set[str]:
    """What bash offers for the last of `rnnlimits WORDS`."""
    line = " ".join(f"'{word}'" for word in ("rnnlimits", *words))
    ask = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shtab_rnnlimits; echo ${{COMPREPLY[*]}}"
    done = subprocess.run(["bash", "--norc", "-c", ask], cwd=folder, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = tmp_path / "rnnlimits.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    assert completed(tmp_path, str(script), "va") == {"validate"}
    assert completed(tmp_path, str(script), "run", "") == {*shipped.studies(), "mine.yaml", "results"}
    assert completed(tmp_path, str(script), "run", "demo", "--profile", "slurm-") == {"slurm-gpu", "slurm-loopback"}
    assert "--json" in completed(tmp_path, str(script), "summary", "results/demo", "--")
    assert "results/demo" in completed(tmp_path, str(script), "summary", "")
    assert completed(tmp_path, str(script), "rntk", "") == {"classify"}
    assert completed(tmp_path, str(script), "completion", "") == {"bash", "zsh", "fish", "tcsh"}


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_have_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", shell])
    script = capsys.readouterr().out
    for name in ("validate", "classify"):
        assert name in script
    if shell != "tcsh":
        assert " ".join(shipped.studies()) in script


# --- the guide -------------------------------------------------------------------------------------------------------


def environment_names(folder: str) -> set[str]:
    """Every environment variable that the code reads or sets by name."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text())
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        upper = {text for text in texts if re.fullmatch(r"RNNLIMITS_[A-Z_]+", text)}
        read = re.findall(r"environ(?:\.get|\.setdefault|\.pop)?[\[(]\s*\"([A-Z_]+)\"", path.read_text())
        found |= upper | set(read)
    return found


def test_the_guide_has_every_verb_and_variable() -> None:
    for name in NAMES:
        assert f"`{name}" in GUIDE or f"`rnnlimits {name}" in GUIDE, name
    for name in environment_names("pipeline") | environment_names("kernels"):
        assert f"`{name}`" in GUIDE, name
    for code in ("0", "1", "2", "130"):
        assert re.search(rf"^\| {code} \|", GUIDE, flags=re.MULTILINE)
