"""Whole runs in drawn surroundings: the digests of a calm run and exit code 0, or one line and exit code 2."""

from __future__ import annotations

import os
import resource
import shutil
import time
from typing import Any

import small_results
from draws import OK, REFUSED, Draw, Fault, required, whole_run
from small_results import RESULTS
from started import Run, calm_digests, calm_folder, finished, fresh, kill, write_study
from variables import NONSENSE, TOGETHER, VARIABLES

from rnnlimits.base.errors import StudyError


@whole_run
def variables(draw: Draw) -> str:
    """Some variables that other programs read."""
    run = fresh(draw)
    for name in draw.random.sample(list(VARIABLES), draw.random.randint(1, 3)):
        options = VARIABLES[name] * 3 + NONSENSE * (not name.startswith("PYTHON"))
        run.environment[name] = draw.random.choice(options)
    return _with_variables(draw, run)


@whole_run
def variables_together(draw: Draw) -> str:
    """Variables that mean something together, such as those of a launcher."""
    run = fresh(draw)
    run.environment |= draw.random.choice(TOGETHER)
    return _with_variables(draw, run)


def _with_variables(draw: Draw, run: Run) -> str:
    aside = draw.folder / "aside ü"
    aside.mkdir()
    values = {"FOLDER": str(aside), "HOST": os.uname().nodename}
    run.environment = {name: values.get(value, value) for name, value in run.environment.items()}
    draw.notes.append(str(run.environment))
    return run.judge()


NAMES = (
    "a b", "é", "数据", "it's", '"quoted"', "100%", "$HOME", "a;b", "a&b", "#1", "{x}", "-dash", "a\\b", "*", "[x]",
    "~", "x" * 200, "a,b", "a=b", "new\nline", " ", "(1)", "!", "😀", "tab\t", ".hidden", os.fsdecode(b"\xff\xfe"), 
    "%(x)s", "a:b", "@x", "..x",
)  # fmt: skip


@whole_run
def names(draw: Draw) -> str:
    """Names of the working folder, the study's file and the folder of results."""
    folder = draw.folder / draw.choice("working folder", ("plain", *NAMES))
    folder.mkdir()
    run = Run(folder)
    run.study = f"./{draw.choice('study', ('drawn', *NAMES))}.yaml"
    run.results = f"./{draw.choice('results', ('results', *NAMES))}"
    write_study(folder).rename(folder / run.study)
    if draw.chance("absolute", 0.3):
        run.results = str(folder / run.results)
    if draw.chance("LC_ALL=C", 0.3):
        run.environment["LC_ALL"] = "C"
    return run.judge()


MODULES = [
    "kernels",
    "base",
    "study",
    "files",
    "run",
    "library",
    "cli",
    "plan",
    "chains",
    "theory",
    "rnnlimits",
    "numpy",
    "h5py",
    "mpi4py",
    "yaml",
    "snakemake",
    "random",
    "json",
    "string",
    "types",
    "copy",
    "logging",
    "typing",
    "csv",
    "sitecustomize",
    "usercustomize",
    "pydantic",
    "pandas",
    "scipy",
    "platform",
    "secrets",
    "queue",
    "token",
]
BESIDE = [
    "Snakefile",
    "pyproject.toml",
    "setup.cfg",
    "profiles",
    "config.yaml",
    "matplotlibrc",
    "demo.yaml",
    ".git",
    "drawn",
]


@whole_run
def modules(draw: Draw) -> str:
    """Modules in the working folder that are named like ours, or like those that we import."""
    run = fresh(draw)
    content = draw.choice("content", ["", "raise SystemExit('mine')", "print('mine')", "import os; os._exit(0)"])
    for name in draw.random.sample(MODULES, 4):
        draw.notes.append(name)
        if draw.random.random() < 0.3:
            (draw.folder / name).mkdir()
            (draw.folder / name / "__init__.py").write_text(content)
        else:
            (draw.folder / f"{name}.py").write_text(content)
    other = draw.choice("beside", BESIDE)
    (draw.folder / other).write_text("nonsense: [")
    if draw.chance("workflow profile", 0.3):
        place = draw.folder / "workflow" / "profiles" / "default"
        place.mkdir(parents=True)
        (place / "config.yaml").write_text("dry-run: true\n")
    return run.judge()


@whole_run
def limits(draw: Draw) -> str:
    """Soft limits of the process, as a shell or a batch system sets them."""
    run = fresh(draw)
    which = draw.choice(
        "limit", ["NOFILE", "FSIZE", "STACK", "NPROC", "CORE", "MEMLOCK", "MSGQUEUE", "NICE", "SIGPENDING"]
    )
    values = {"NOFILE": (16, 32, 64, 128), "FSIZE": (0, 1000, 20_000, 1 << 20), "STACK": (1 << 20, 4 << 20)}
    run.limits[getattr(resource, f"RLIMIT_{which}")] = draw.choice("value", values.get(which, (0, 1, 64)))
    if draw.chance("umask 777", 0.1):
        run.prepared = lambda: (os.umask(0o777), None)[1]
    return run.judge()


@whole_run
def streams(draw: Draw) -> str:
    """Standard streams that are closed, and a terminal that has gone."""
    run = fresh(draw)
    closed = draw.choice("closed", [(0,), (1,), (2,), (0, 1, 2), (0, 1)])

    def close() -> None:
        for number in closed:
            os.close(number)

    run.prepared = close
    return run.judge() if 2 not in closed else _silent(run)


def _silent(run: Run) -> str:
    code, *_ = run.end(run.start())
    if code == 0:
        run.compare(calm_digests("{}"))
    elif code != 2:
        raise Fault(f"exit code {code}, and no stderr to say why")
    return OK if code == 0 else REFUSED


NOTES = ["snakemake", "locks", "logs", "times", "study.yaml", "stale", "metadata", "partial"]


@whole_run
def notes_lost(draw: Draw) -> str:
    """Results that are copied, or whose notes are gone, stale or damaged: run again, they are the same."""
    run = finished(draw)
    root = draw.folder / RESULTS
    for what in draw.random.sample(
        ["snakemake", "locks", "logs", "times", "study.yaml", "stale", "metadata", "partial"], 2
    ):
        draw.notes.append(what)
        if what == "snakemake":
            shutil.rmtree(draw.folder / ".snakemake")
        elif what in ("locks", "logs"):
            shutil.rmtree(root / f"{'.' * (what == 'locks')}{what}", ignore_errors=True)
        elif what == "times":
            for path in [*root.rglob("*"), draw.folder / "drawn.yaml"]:
                os.utime(path, (draw.random.random() * 2e9,) * 2)
        elif what == "study.yaml":
            (root / what).write_text("damaged: [")
        elif what == "stale":
            (root / ".locks").mkdir(exist_ok=True)
            (root / ".locks" / "run.lock").write_text("host 1 999999\n")
            (root / ".locks" / "refusals-abc").write_text("an old one\n")
        elif what == "metadata":
            for path in (draw.folder / ".snakemake").rglob("*"):
                if path.is_file():
                    path.write_bytes(draw.random.choice([b"", b"{}", b"nonsense"]))
        else:
            (root / ".rates.h5.part-1").write_bytes(b"half")
    return run.judge()


@whole_run
def results_damaged(draw: Draw) -> str:
    """A file of finished results is gone, damaged, or of another study."""
    run = finished(draw)
    name = draw.choice("file", small_results.files(draw.folder))
    path = draw.folder / RESULTS / name
    form = draw.choice("form", ["gone", "cut", "empty", "another study", "flipped", "folder", "dangling"])
    content = path.read_bytes()
    path.unlink()
    if form == "another study":
        other = calm_folder('{"seed": 2}')
        place = small_results.files(calm_folder("{}")).index(name)
        shutil.copy(other / RESULTS / small_results.files(other)[place], path)
    elif form == "folder":
        path.mkdir()
    elif form == "dangling":
        path.symlink_to("gone")
    elif form != "gone":
        middle = len(content) // 2
        forms = {"cut": content[:middle], "empty": b""}
        forms["flipped"] = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(forms[form])
    if draw.chance("no notes", 0.5):
        shutil.rmtree(draw.folder / ".snakemake")
    try:
        return run.judge()
    except StudyError as error:  # the rest is as it was: the file itself is refused when it is read
        required(str(error))
        return REFUSED


CHANGES: tuple[dict[str, Any], ...] = (
    {"seed": 2}, {"limit": {"nodes": 6}}, {"training": {"replicas": 6}}, {"probes": {"count": 3, "length": 4}},
)  # fmt: skip


@whole_run
def key_changed(draw: Draw) -> str:
    """A key is changed in another working folder, the results are the same folder; then it is changed back."""
    run = finished(draw)
    changes = draw.choice("changed", CHANGES)
    elsewhere = draw.folder / "elsewhere"
    elsewhere.mkdir()
    write_study(elsewhere, **changes)
    other = Run(elsewhere, results="../results")
    outcome = other.judge(changes)
    if outcome == OK and draw.chance("and back", 0.5):
        outcome = run.judge()
    return outcome


@whole_run
def killed(draw: Draw) -> str:
    """Every process dies at once, as a node does; the same command goes on."""
    run = fresh(draw)
    child = run.start()
    time.sleep(draw.random.choice([0.5, 1, 2, 3, 4]))
    kill(child)
    child.communicate()
    return run.judge()


FORMS = (
    "results is a file", "results is a link", "dangling link", "results/drawn is a file", "cache is a file",
    "home is a file", "temporary files into a blank", "working folder is a link", "shards is a file",
    ".snakemake is a file",
)  # fmt: skip


@whole_run
def folders(draw: Draw) -> str:
    """Folders that cannot be written, are missing, or are links."""
    run = fresh(draw)
    form = draw.choice("form", FORMS)
    place = draw.folder / "results"
    if form == "results is a file":
        place.write_text("mine")
    elif form in ("results is a link", "dangling link"):
        place.symlink_to("elsewhere ü")
        if form == "results is a link":
            (draw.folder / "elsewhere ü").mkdir()
    elif form in ("results/drawn is a file", "shards is a file"):
        target = place / "drawn" if "drawn" in form else place / "drawn" / "shards"
        target.parent.mkdir(parents=True)
        target.write_text("mine")
    elif form == ".snakemake is a file":
        (draw.folder / ".snakemake").write_text("mine")
    elif form == "working folder is a link":
        (draw.folder / "real").mkdir()
        write_study(draw.folder / "real")
        (draw.folder / "link").symlink_to("real")
        run.folder = draw.folder / "link"
    else:
        (draw.folder / "a b").mkdir() if "blank" in form else (draw.folder / "a b").write_text("mine")
        name = {"cache": "RNNLIMITS_CACHE", "home ": "HOME", "tempo": "TMPDIR"}[form[:5]]
        run.environment[name] = str(draw.folder / "a b")
    return run.judge()
