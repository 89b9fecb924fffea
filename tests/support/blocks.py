"""Finding what a page tells its reader to type: code blocks, fenced or indented, and commands within a sentence.

A block is what its fence says; one without a language is told by its first words. `<!-- not run: REASON -->` right
before a block says that it cannot be run by the tests, and why. COMMANDS is the one table of commands that are not run.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<mark>```+|~~~+)\s*(?P<language>\S*)")
REASON = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*$", re.S)
INLINE = re.compile(r"(?<!`)`(?P<code>[^`\n]+(?:\n[^`\n]+)?)`(?!`)")
LIST_ITEM = re.compile(r"^( *)([-*]|\d+\.) +")
PLACEHOLDER = re.compile(r"^[A-Z][A-Z0-9_.-]*$|/[A-Z]{3,}\b|\b[A-Z]{4,}\.\w+$")
TOOLS = ("rnnlimits", "make", "python", "snakemake", "mpiexec", "pip", "conda", "srun", "sbatch", "squeue", "sacct")
OTHER_TOOLS = ("git", "cd", "cp", "mkdir", "cat", "eval", "apt-get", "timeout", "env", "ls", "rm", "sed", ".", "h5dump")
SHELL = {"sh", "bash", "shell", "console"}
FOREIGN = {"matlab", "octave", "julia", "r", "R"}
OUTPUT = {"text", "output", "none"}
# Indented blocks of these pages are equations, unless they hold a command.
FORMULAS = ("docs/model.md", "docs/rntk.md", "docs/theory/", "docs/theory.md")

# Commands that the tests do not run: why, and what of them is run instead ("": verb, options and files are looked up).
COMMANDS: dict[str, tuple[str, str]] = {
    r"make (test|lint|docs|bench|bench-gpu)\b": ("the tests themselves, or minutes of measurements", ""),
    r"make (cluster|slurm-up|slurm-down)\b|--profile|^(srun|sbatch|squeue|sacct)\b|loopback": ("needs a Slurm", ""),
    r"\bpip install\b|^conda\b|^apt-get\b": ("needs a network", ""),
    r"^rnnlimits atlas (?!.*--write-only)": ("a study for each variant, minutes", "--write-only"),
    r"^rnnlimits run config/(rntk-rates|richness).yaml": ("minutes; demo and rntk, which are run, have all parts", ""),
    r"^rnnlimits rntk classify": ("minutes, and the packages that data sets ship in", ""),
    r"^python benchmarks/": ("minutes of measurements", ""),
    r"^python tests/fuzz": ("an hour of draws, of which the tests take some", ""),
    r"^snakemake --unlock": ("needs a lock that a killed Snakemake left", ""),
}

TALLY: dict[str, Counter[str]] = {}  # what became of the blocks of each page, for the summary of the test run


@dataclass(frozen=True)
class Block:
    """Code of a page. kind: shell, python, yaml, json, diff, foreign, tree, formula, directive, output or inline."""

    page: str
    line: int
    kind: str
    text: str
    language: str = ""
    reason: str = ""  # why it is not run, as the page says

    @property
    def where(self) -> str:
        """Page and line, as an editor takes them."""
        return f"{self.page}:{self.line}"


def pages(root: Path) -> list[str]:
    """Every page that tells readers what to type, relative to the repository."""
    wanted = ("*.md", "docs/**/*.md", "cluster/**/*.md", "benchmarks/**/*.md", "config/**/*.md")
    found = {path.relative_to(root) for pattern in wanted for path in root.glob(pattern)}
    return sorted(str(path) for path in found if path.name != "CHANGELOG.md" and "_build" not in path.parts)


def blocks(page: str, text: str) -> list[Block]:
    """The blocks of a page and its commands within sentences, in their order."""
    found, prose = [], []
    lines = text.splitlines()
    for first, last, language, code, reason in cut(lines):
        kind = kind_of(page, language, code)
        found.append(Block(page, first + 1, kind, code, language, reason))
        prose.append((first, last))
    for first, last in prose:
        lines[first:last] = [""] * (last - first)
    return sorted([*found, *_inline(page, "\n".join(lines))], key=lambda block: block.line)


def cut(lines: list[str]) -> Iterator[tuple[int, int, str, str, str]]:
    """(first line, line after the last, language, code, reason) of each fenced or indented block."""
    at, margin = 0, 0
    while at < len(lines):
        line = lines[at]
        if fence := FENCE.match(line):
            end = next((k for k in range(at + 1, len(lines)) if lines[k].strip() == fence["mark"]), len(lines))
            yield at, end + 1, fence["language"], _dedent(lines[at + 1 : end]), _reason(lines[:at])
            at = end + 1
            continue
        if item := LIST_ITEM.match(line):
            margin = len(item[0])
        elif line and not line.startswith(" "):
            margin = 0
        if _indented(line, margin) and (at == 0 or not lines[at - 1].strip()):
            end = _end(lines, at, margin)
            yield at, end, "", _dedent(lines[at:end]), _reason(lines[:at])
            at = end
            continue
        at += 1


def _indented(line: str, margin: int) -> bool:
    return bool(line.strip()) and line.startswith(" " * (margin + 4)) and not LIST_ITEM.match(line)


def _end(lines: list[str], at: int, margin: int) -> int:
    """The line after the last of an indented block, which may hold blank lines."""
    end = at
    for k in range(at, len(lines)):
        if lines[k].startswith(" " * (margin + 4)):
            end = k + 1
        elif lines[k].strip():
            break
    return end


def _dedent(lines: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines) + "\n"


def _reason(before: list[str]) -> str:
    """What the comment right before a block says about why it is not run."""
    found = REASON.search("\n".join(before[-4:]).rstrip())
    return " ".join(found["reason"].split()) if found else ""


def _inline(page: str, text: str) -> Iterator[Block]:
    for found in INLINE.finditer(text):
        code = " ".join(found["code"].split())
        if code.split()[0].removeprefix(".venv/bin/") in TOOLS and " " in code:
            yield Block(page, text.count("\n", 0, found.start()) + 1, "inline", code)


def kind_of(page: str, language: str, code: str) -> str:
    """What a block is, by its fence or its first words."""
    if language.startswith("{"):
        return "directive"
    if language in SHELL or (not language and is_shell(code)):
        return "shell"
    if language in FOREIGN:
        return "foreign"
    if language in {"python", "yaml", "json", "diff"}:
        return language
    if language and language not in OUTPUT:
        return language
    if not language and is_python(code):
        return "python"
    if code.split()[0].endswith("/"):
        return "tree"
    return "formula" if page.startswith(FORMULAS) else "output"


def is_shell(code: str) -> bool:
    """Whether some line starts with a command; such a block may hold nothing else."""
    return any(_word(line) in (*TOOLS, *OTHER_TOOLS, "cluster/loopback") for line in code.splitlines())


def _word(line: str) -> str:
    return line.removeprefix("$ ").split(" ")[0].removeprefix(".venv/bin/")


def is_python(code: str) -> bool:
    """Whether it parses, and does something: an equation such as a = b parses as well."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def commands(code: str) -> list[str]:
    """The command lines of a shell block: without prompts and remarks, continued lines joined."""
    lines = (line.removeprefix("$ ") for line in code.replace("\\\n", " ").splitlines())
    bare = (re.sub(r"(^|\s+)#.*$", "", line).strip() for line in lines)
    return [re.sub(r"^\.venv/bin/", "", line) for line in bare if line]


def excuse(command: str) -> tuple[str, str] | None:
    """Why a command is not run and which words make it short enough to be run, or None where it is run as it is."""
    return next((why for pattern, why in COMMANDS.items() if re.search(pattern, command)), None)


def only_looks(command: str) -> bool:
    """Whether a command within a sentence is complete, and neither trains nor writes."""
    found = command.split()
    looks = found[:1] == ["rnnlimits"] and found[1] in ("check", "plan", "summary", "inspect", "validate", "digest")
    return looks and len(found) > 2 and "/" in found[2] and not any(is_placeholder(word) for word in found)


def words(command: str) -> list[str]:
    """The words of a command, without `mpiexec -n 2` before it and redirections after it."""
    found = shlex.split(re.split(r" [<>|&]|;", command)[0])
    if "rnnlimits" in found[1:] and found[0] in ("mpiexec", "srun", "timeout"):
        found = found[found.index("rnnlimits") :]
    return found


def is_placeholder(word: str) -> bool:
    """Whether a word stands for another: STUDY, results/STUDY, FILE."""
    return bool(PLACEHOLDER.search(word))


def report() -> Iterator[str]:
    """Lines that say how many blocks and commands of each page were run, checked, and not run for which reason."""
    for page, tally in sorted(TALLY.items()):
        excused = {why.removeprefix("not run: "): count for why, count in tally.items() if why.startswith("not run: ")}
        reasons = "; ".join(f"{count}x {why}" for why, count in excused.items())
        counts = f"{tally['run']} run, {tally['checked']} checked otherwise, {sum(excused.values())} not run"
        yield f"{page}: {counts}{f' ({reasons})' if reasons else ''}"
