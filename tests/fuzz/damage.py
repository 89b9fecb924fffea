"""Finished results, damaged in one way, and a verb that reads them: the values of calm surroundings, or a refusal."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import small_results
from draws import OK, REFUSED, Draw, Fault, command, judged, reader, refusal
from small_results import RESULTS, calm, copied, digests, files, pictured, temporary

import rnnlimits
from rnnlimits.files.reading import digest_of

Damage = Callable[[Draw, Path], list[Path]]  # damages results, returns the files that are no longer what they were
DAMAGES: dict[str, Damage] = {}
GENUINE = ("replaced", "swapped")  # leave files that are whole in themselves, in the wrong place


def damage(act: Damage) -> Damage:
    """Register a way to damage results, under the name of its function."""
    DAMAGES[act.__name__] = act
    return act


@reader
def damaged_results(draw: Draw) -> str:
    """One damage, one verb."""
    verb = draw.choice("verb", [*VERBS, *VERBS, "rates", "report"])
    folder = copied(pictured() if verb == "report" else calm(1), draw.folder)
    name = draw.choice("damage", [*DAMAGES, "replaced", "replaced"])  # of which a reader can tell the least
    touched = DAMAGES[name](draw, folder / RESULTS)
    draw.notes.append(f"touched={[str(path) for path in touched]}")
    return _strict(folder, "report") if verb == "report" else VERBS[verb](folder, name, touched)


# --- verbs --------------------------------------------------------------------------------------------------------


def _words(verb: str) -> tuple[object, ...]:
    further: dict[str, tuple[object, ...]] = {
        "rates": ("drawn.yaml", "--backend", "numpy"),
        "report": ("drawn.yaml", "--backend", "numpy"),
        "summary": (RESULTS,),
        "compare": (RESULTS, f"{calm(1)}/{RESULTS}"),
    }
    return (verb, *further[verb])


@cache
def _expected(verb: str) -> tuple[str, str]:
    """What the verb prints, and the digest of what it writes, in calm surroundings."""
    folder = temporary() / "calm"
    shutil.copytree(pictured() if verb == "report" else calm(1), folder)
    out = small_results.good(command(folder, *_words(verb))).out
    return _table(verb, out), _written(folder, verb)


def _table(verb: str, out: str) -> str:
    """What a verb prints, of `summary` the table alone: a line above it may say which files are of another study."""
    if verb != "summary":
        return out
    return out[out.index("measured") : out.index("where to look")] if "where to look" in out else ""


def _written(folder: Path, verb: str) -> str:
    if verb == "rates":
        return digests(folder / RESULTS / "rates.h5")[str(folder / RESULTS / "rates.h5")]
    if verb != "report":
        return ""
    page = (folder / RESULTS / "report.html").read_text(encoding="utf-8")  # its section on costs counts the files
    return hashlib.sha256(re.sub(r'<section id="cost".*?</section>', "", page, flags=re.DOTALL).encode()).hexdigest()


def _strict(folder: Path, verb: str, *_: object) -> str:
    out, written = _expected(verb)
    done = command(folder, *_words(verb))
    outcome = judged(replace(done, out=_table(verb, done.out) if done.code == 0 else done.out), out)
    if outcome == OK and _written(folder, verb) != written:
        raise Fault("exit code 0, and other values were written than in calm surroundings")
    return outcome


def _validate(folder: Path, name: str, touched: list[Path]) -> str:
    done = command(folder, "validate", RESULTS)
    if done.code == 0 and any(path.suffix == ".h5" and not _is_spent(folder, path) for path in touched):
        raise Fault("validate is content")
    if done.code == 2 and not touched:
        raise Fault(f"validate finds faults where there are none: {done.out[:300]}")
    return judged(done, lists=True)


def _is_spent(folder: Path, path: Path) -> bool:
    """Whether a file is a shard of the draws that is gone: draw.h5 holds all its values, and needs it no longer."""
    return path.parent.name.startswith("draw_") and not (folder / RESULTS / path).exists()


def _digest(folder: Path, name: str, touched: list[Path]) -> str:
    done = command(folder, "digest", RESULTS)
    outcome = judged(done)
    known = digests(calm(1) / RESULTS)
    for line in done.out.splitlines():
        found, path = line.split(maxsplit=1)
        if known.get(path) != found and not (name in GENUINE and Path(path) in touched):
            raise Fault(f"another digest of {path} than in calm surroundings")
    return outcome


def _inspect(folder: Path, *_: object) -> str:
    return judged(command(folder, "inspect", RESULTS))


def _watch(folder: Path, *_: object) -> str:
    return judged(command(folder, "watch", RESULTS, "--once"))


def _pack(folder: Path, name: str, touched: list[Path]) -> str:
    outcome = judged(command(folder, "pack", RESULTS, "packed.h5"))
    if outcome == OK and touched:
        calm_digests = digests(calm(1) / RESULTS)
        for path, digest in _packed(folder / "packed.h5").items():
            if digest != calm_digests[path]:
                raise Fault(f"exit code 0, and a pack with another digest of {path} than in calm surroundings")
    return outcome


def _packed(pack: Path) -> dict[str, str]:
    """Digest of each result in a pack, by the name of its file; results that did not exist are left out."""
    names = [str(path.with_suffix("")) for path in files(calm(1)) if path.parts[0] != "shards"]
    with h5py.File(pack) as file:
        present = [name for name in names if name in file]
    return {f"{name}.h5": digest_of(pack, name) for name in present}


def _library(folder: Path, *_: object) -> str:
    found: list[str] = []
    if refusal(lambda: found.append(_values(folder))):
        return REFUSED
    if found[0] != _calm_values():
        raise Fault("rnnlimits.open gives other values than in calm surroundings")
    return OK


@cache
def _calm_values() -> str:
    return _values(calm(1))


def _values(folder: Path) -> str:
    """Digest of the values that the library reads from results."""
    results = rnnlimits.open(folder / RESULTS)
    running = hashlib.sha256(results.rates.to_csv().encode() + results.points.to_csv().encode())
    with results.ensemble(width=4) as cell, results.draws as draws:
        for data in (cell.output, draws.A):
            running.update(np.ascontiguousarray(data.values).tobytes())
    return running.hexdigest()


VERBS: dict[str, Callable[[Path, str, list[Path]], str]] = {
    "rates": lambda folder, *_: _strict(folder, "rates"),
    "summary": lambda folder, *_: _strict(folder, "summary"),
    "compare": lambda folder, *_: _strict(folder, "compare"),
    "validate": _validate,
    "digest": _digest,
    "inspect": _inspect,
    "pack": _pack,
    "library": _library,
    "watch": _watch,
}


# --- damages ------------------------------------------------------------------------------------------------------


def _one(draw: Draw, root: Path) -> tuple[Path, Path]:
    """A file of the results: relative to their folder, and its place."""
    name = draw.random.choice(files(root.parent.parent))
    return name, root / name


@damage
def flipped(draw: Draw, root: Path) -> list[Path]:
    """Some bits of one file."""
    name, path = _one(draw, root)
    content = bytearray(path.read_bytes())
    for _ in range(draw.random.choice([1, 1, 3])):
        content[draw.random.randrange(len(content))] ^= 1 << draw.random.randrange(8)
    path.write_bytes(content)
    return [name]


@damage
def cut(draw: Draw, root: Path) -> list[Path]:
    """The end of one file is missing."""
    name, path = _one(draw, root)
    size = path.stat().st_size
    os.truncate(path, draw.random.choice([0, 1, 8, size // 2, size - 1, size - 80, draw.random.randrange(size)]))
    return [name]


@damage
def blanked(draw: Draw, root: Path) -> list[Path]:
    """A sector of zeros."""
    name, path = _one(draw, root)
    content = bytearray(path.read_bytes())
    start = draw.random.randrange(len(content))
    length = len(content[start : start + 512])
    if not any(content[start : start + length]):
        start, length = 0, 512
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    return [name]


@damage
def lengthened(draw: Draw, root: Path) -> list[Path]:
    """Something follows the last line."""
    name, path = _one(draw, root)
    with path.open("ab") as file:
        file.write(draw.random.choice([b"\n", b"\0" * 100, b"rnnlimits sha256 " + b"0" * 64 + b"\n"]))
    return [name]


@damage
def deleted(draw: Draw, root: Path) -> list[Path]:
    """One file, or the folder of shards."""
    if draw.chance("all shards", 0.15):
        gone = [path for path in files(root.parent.parent) if path.parts[0] == "shards"]
        shutil.rmtree(root / "shards")
        return gone
    name, path = _one(draw, root)
    path.unlink()
    return [name]


@damage
def replaced(draw: Draw, root: Path) -> list[Path]:
    """By the same file of a study with another seed."""
    here, there = files(calm(1)), files(calm(2))
    place = draw.random.randrange(len(here))
    shutil.copy(calm(2) / RESULTS / there[place], root / here[place])
    return [here[place]]


@damage
def swapped(draw: Draw, root: Path) -> list[Path]:
    """Two shards, or two ensembles."""
    part = draw.random.choice(["shards", "train"])
    one, other = draw.random.sample([path for path in files(root.parent.parent) if path.parts[0] == part], 2)
    (root / one).rename(root / "aside")
    (root / other).rename(root / one)
    (root / "aside").rename(root / other)
    return [one, other]


@damage
def linked(draw: Draw, root: Path) -> list[Path]:
    """A link, a folder or a pipe in place of a file."""
    name, path = _one(draw, root)
    form = draw.choice("instead", ["dangling", "itself", "folder", "pipe", "device"])
    path.unlink()
    if form in ("dangling", "itself"):
        path.symlink_to(path.name if form == "itself" else "gone.h5")
    elif form == "folder":
        path.mkdir()
    elif form == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return [name]


@damage
def other_text(draw: Draw, root: Path) -> list[Path]:
    """The study's text or the table, which are no HDF5."""
    path = root / draw.choice("text", ["study.yaml", "rates.csv"])
    form = draw.choice("form", ["empty", "cut", "bytes", "another seed"])
    text = path.read_text()
    if form == "bytes":
        path.write_bytes(b"\xff\xfe\0" + text.encode())
    else:
        forms = {"empty": "", "cut": text[: len(text) // 2], "another seed": text.replace("seed: 1\n", "seed: 2\n")}
        path.write_text(forms[form])
    return [path.relative_to(root)]


@damage
def moved(draw: Draw, root: Path) -> list[Path]:
    """No damage: elsewhere, other times, other permissions, a link in place of the folder."""
    form = draw.choice("form", ["times", "read-only", "link", "hidden files"])
    if form == "times":
        for name in files(root.parent.parent, "*"):
            os.utime(root / name, (draw.random.random() * 2e9,) * 2)
    elif form == "read-only":
        for name in files(root.parent.parent):
            (root / name).chmod(0o444)
    elif form == "link":
        root.rename(root.parent / "elsewhere")
        root.symlink_to("elsewhere")
    else:
        (root / ".limit.h5.part-1234").write_bytes(b"half")
        (root / ".DS_Store").write_bytes(b"\0")
    return []
