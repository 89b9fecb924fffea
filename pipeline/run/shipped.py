"""Files that ship with the package: the workflow, studies, cluster profiles.

They are in the package's folder share/. In a clone its entries are links to the folders workflow/, config/ and cluster/
at the top of the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from rnnlimits.base.errors import StudyError

PACKAGE = Path(__file__).parent.parent
SHARE = PACKAGE / "share"
IS_CLONE = (SHARE / "workflow").is_symlink()

# Resolved, so that messages name the files of a clone where a user edits them.
WORKFLOW = (SHARE / "workflow").resolve()
CONFIG = (SHARE / "config").resolve()
CLUSTER = (SHARE / "cluster").resolve()
SNAKEFILE = WORKFLOW / "Snakefile"
CLASSIFY = WORKFLOW / "classify.smk"
ENVIRONMENT = SHARE / "environment.yml"
CITATION = SHARE / "CITATION.cff"

Say = Callable[[str], None]
PROFILE = "cluster profile"


def studies() -> dict[str, Path]:
    """Every study that ships, by name."""
    return {path.stem: path for path in _yaml(CONFIG) if not path.stem.startswith("atlas")}


def atlases() -> dict[str, Path]:
    """Every atlas that ships, by name."""
    return {path.stem: path for path in _yaml(CONFIG) if path.stem.startswith("atlas")}


def profiles() -> dict[str, Path]:
    """The folder of every cluster profile that ships, by name."""
    return {path.parent.name: path.parent for path in sorted(CLUSTER.glob("*/site.yaml"))}


def sites() -> dict[str, Path]:
    """Every template of a site.yaml that ships, by name: sites/gpu-4."""
    return {f"sites/{path.stem}": path for path in _yaml(CLUSTER / "sites")}


def about(path: Path) -> str:
    """The first comment in a YAML file that is meant for readers, as one line; for a folder that of its config.yaml."""
    text = (path / "config.yaml" if path.is_dir() else path).read_text(encoding="utf-8")
    comments = (line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return next((line for line in comments if not line.startswith("yaml-language-server")), "")


def study(given: Path, say: Say | None = None) -> Path:
    """The file `given`, else the study that ships under that name, which is then reported with `say`.

    Raises StudyError, with the names that ship, if it is neither.
    """
    return _resolved(given, studies(), "study", say)


def atlas(given: Path, say: Say | None = None) -> Path:
    """The atlas file `given`, or one that ships; see `study`."""
    return _resolved(given, atlases(), "atlas", say)


def profile(given: Path, say: Say | None = None) -> Path:
    """The folder of the cluster profile `given`, or one that ships; see `study`."""
    return _resolved(given, profiles(), PROFILE, say)


def _resolved(given: Path, choices: dict[str, Path], kind: str, say: Say | None) -> Path:
    # Only a bare word can be a name: a path with a folder or a suffix that does not exist is reported as missing.
    is_word = given.name == str(given) and not given.suffix
    if not is_word or (given.exists() and given.is_dir() == (kind == PROFILE)):
        return given
    if path := choices.get(given.name):
        if say is not None:
            say(f"{given}: the {kind} that ships with rnnlimits ({path})")
        return path
    lacking = "folder" if kind == PROFILE else "file"
    raise StudyError(f"{given}: is neither a {lacking} here nor a {kind} that ships; those are {', '.join(choices)}")


def _yaml(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("*.yaml"))
