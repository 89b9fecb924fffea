"""Study files: one study in many styles of YAML, which all must have its identity; and planted errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from draws import OK, REFUSED, Draw, Fault, command, judged, reader, refusal, required

from rnnlimits.study import AnyStudy, load_any, loads_any

STUDY: dict[str, Any] = {
    "name": "drawn",
    "seed": 8,
    "precision": "float64",
    "chain": {"kind": "coupled-tanh", "a": 0.5, "s": 1.0},
    "target": {"sin_x": 1.0, "z": 0.5},
    "network": {"activation": "tanh", "b": {"offset": 0.25, "slope": 0.5}, "c": {"kind": "uniform", "std": 1.0}},
    "training": {
        "beta": [0.6, 0.75], "width": [16, 32], "replicas": 8, "replicas_per_block": 4, "antithetic": True,
        "checkpoints": [0.0, 1.0], "horizon": 1.0, "loss_bins": 8,
        "ladders": [{"beta": [0.75], "width": [32], "steps_per_time": [8, 16]}],
    },
    "probes": {"count": 4, "length": 10},
    "draws": {"blocks": 2, "chains": 8, "steps": 20},
    "limit": {"nodes": 16},
}  # fmt: skip


@cache
def _identity() -> str:
    return loads_any(json.dumps(STUDY), "calm.yaml").identity


@reader
def study_file(draw: Draw) -> str:
    """The study in a drawn style, with or without a planted error."""
    values = copy.deepcopy(STUDY)
    named, wrong, either = "", False, False
    if draw.random.random() < 0.45:
        named = draw.random.choice(VALUES)(draw, values)
        wrong = True
    text = Writer(draw.random, draw.chance("flow", 0.2)).document(values)
    if not wrong and draw.random.random() < 0.35:
        text, wrong = draw.random.choice(TEXTS)(draw, text), True
    content = text.encode()
    if draw.random.random() < 0.2:
        content, either = draw.random.choice(ENCODINGS)(draw, text), True
    path = draw.folder / draw.choice("file", ["drawn.yaml", "Studie ü.yml", "a b.yaml", "study"])
    path.write_bytes(content)
    found: list[AnyStudy] = []
    line = refusal(lambda: found.append(load_any(path)), path.name)
    checked = judged(command(draw.folder, "check", path))
    if line is not None:
        if not wrong and not either:
            raise Fault(f"was refused, though it is a good study: {line}")
        if checked != REFUSED:
            raise Fault(f"check is content with a study that is refused: {line}")
        required(line, *([named] if named and not either else []))
        return REFUSED
    if wrong:
        raise Fault("was read, though it has an error")
    if found[0].identity != _identity():
        raise Fault(f"identity {found[0].identity}, that of the same study is {_identity()}")
    return OK


# --- styles -------------------------------------------------------------------------------------------------------


class Raw(str):
    """Text that is written as it stands."""


class Writer:
    """Writes values as YAML in a drawn style."""

    def __init__(self, random: Random, flow: bool) -> None:
        self.random, self.flow, self.comments = random, flow, not flow and random.random() < 0.3
        self.anchored = ""

    def document(self, values: dict[str, Any]) -> str:
        """The whole file."""
        body = self._flow(values) + "\n" if self.flow else self._block(values, 0)
        start = self.random.choice(["", "", "---\n", "# a study: of { [ & *\n", "\n\n", "%YAML 1.2\n---\n"])
        text = start + body + self.random.choice(["", "", "...\n", "\n", "# end"])
        return text.replace("\n", "\r\n") if self.random.random() < 0.15 else text

    def _block(self, values: dict[str, Any], depth: int) -> str:
        lines = []
        items = list(values.items())
        self.random.shuffle(items)
        indent = "  " * depth
        for key, value in items:
            if self.comments and self.random.random() < 0.3:
                lines.append(f"{indent}# {self.random.choice(['a comment', 'training: {', chr(9), 'ü ∞'])}")
            name = self._key(key)
            if isinstance(value, dict) and value and self.random.random() < 0.6:
                lines.append(f"{indent}{name}:\n{self._block(value, depth + 1)}".rstrip("\n"))
            elif isinstance(value, list) and value and self.random.random() < 0.4:
                lines.append(f"{indent}{name}:")
                lines += [f"{indent}- {self._flow(item)}" for item in value]
            else:
                lines.append(f"{indent}{name}: {self._flow(value)}{self._remark()}")
        return "\n".join(lines) + "\n"

    def _remark(self) -> str:
        return "  # because" if self.comments and self.random.random() < 0.3 else ""

    def _key(self, key: str) -> str:
        return f'"{key}"' if self.random.random() < 0.08 else f"'{key}'" if self.random.random() < 0.08 else key

    def _flow(self, value: Any) -> str:
        if isinstance(value, dict):
            items = list(value.items())
            self.random.shuffle(items)
            return "{" + ", ".join(f"{self._key(key)}: {self._flow(item)}" for key, item in items) + "}"
        if isinstance(value, list):
            end = "," if value and self.random.random() < 0.1 else ""
            return "[" + ", ".join(self._flow(item) for item in value) + end + "]"
        return self._scalar(value)

    def _scalar(self, value: Any) -> str:
        if isinstance(value, Raw):
            return value
        if isinstance(value, bool):
            word = str(value)
            return self.random.choice([word, word.lower(), word.upper()])
        if isinstance(value, str):
            return self.random.choice([value, f"'{value}'", json.dumps(value), f"!!str {value}"])
        if isinstance(value, int | float):
            return self._number(value)
        return "null"

    def _number(self, value: float) -> str:
        if self.random.random() < 0.6:
            return repr(value)
        forms = [f"{float(value)!r}", f"{value:e}", f"{value:E}", f"+{value}", f"{value * 10:.6g}e-1"]
        forms += [f"{float(value):.3f}"] if float(f"{float(value):.3f}") == value else []
        if value == int(value):
            forms += [str(int(value)), f"{int(value)}.", f"{int(value)}e0", f"{int(value)}.0"]
        forms += [repr(value).lstrip("0")] if 0 < value < 1 else []
        return self.random.choice([form for form in forms if float(form) == value])


# --- planted errors in values: each returns what the refusal must name --------------------------------------------

COUNTS = ("training.replicas", "probes.count", "draws.chains", "limit.nodes", "draws.steps")
NUMBERS = ("seed", "network.b.slope", "training.horizon", *COUNTS)
NO_NUMBERS = (
    ".nan",
    ".inf",
    "-.inf",
    "1_000",
    "0x10",
    "0o17",
    "0b11",
    "1e400",
    "1:30",
    "١٢",
    "１２",
    "+-1",
    "1e",
    "inf",
)
NO_TYPES = (
    "[1, 2]",
    "{a: 1}",
    "text",
    "true",
    "null",
    "'8'",
    '"1.5"',
    "!!str 8",
    "[]",
    "~",
    "2020-01-01",
    "1 000",
    "1,5",
)
NO_SWITCHES = ("yes", "no", "on", "off", "1", "0", "y", "'true'", "tRue")
NO_BETAS = ("0.49", "1.1", "1.01", ".nan", "-0.75", "75%", "3/4", "0")
NO_NAMES = ('"a/b"', "..", "a b", '"a\\0b"', "''", "1", "1.5", "true", "[a]", '"a\\nb"')
BROKEN = ("]", "}", "- a", "*gone", "'", '"', "&a", "@", "`", ": :", "\0", "\x07")
OTHER = (
    "", "# only\n", "null", "[]", "- a\n- b\n", "text", "1", "{}", "---\n---\n", "&a [*a]", "*a", "[" * 300, "a: " * 50,
    "!!python/object:os.system {}", "<<: 1", "!", "&a {<<: *a}", "? {a: 1}\n: 2", "{a, b}",
)  # fmt: skip


def _set(values: dict[str, Any], place: str, value: Any) -> str:
    *sections, key = place.split(".")
    for section in sections:
        values = values[section]
    values[key] = value
    return key


def _unknown(draw: Draw, values: dict[str, Any]) -> str:
    section = draw.choice("section", [None, "chain", "network", "training", "probes", "draws", "limit"])
    key = draw.choice("unknown key", ["widht", "Seed", "sed", "seeds", "é", "0", "a.b", "kernel_", "x y"])
    (values[section] if section else values)[key] = 1
    return str(key)


def _wrong_type(draw: Draw, values: dict[str, Any]) -> str:
    return _set(values, draw.choice("place", NUMBERS), Raw(draw.choice("instead", NO_TYPES)))


def _no_number(draw: Draw, values: dict[str, Any]) -> str:
    """Forms that YAML 1.1 or a programming language takes for numbers."""
    return _set(values, draw.choice("place", NUMBERS), Raw(draw.choice("number", NO_NUMBERS)))


def _out_of_range(draw: Draw, values: dict[str, Any]) -> str:
    place = draw.choice("place", COUNTS)
    return _set(values, place, Raw(draw.choice("number", ["0", "-1", "1.5", "2147483648", "1e30", "-0.0", "9" * 400])))


def _no_switch(draw: Draw, values: dict[str, Any]) -> str:
    return _set(
        values,
        "training.antithetic",
        Raw(draw.choice("switch", NO_SWITCHES)),
    )


def _bad_beta(draw: Draw, values: dict[str, Any]) -> str:
    return _set(
        values,
        "training.beta",
        [0.75, Raw(draw.choice("beta", NO_BETAS))],
    )


def _bad_name(draw: Draw, values: dict[str, Any]) -> str:
    return _set(
        values,
        "name",
        Raw(draw.choice("name", NO_NAMES)),
    )


def _missing(draw: Draw, values: dict[str, Any]) -> str:
    key = draw.choice("missing", ["name", "chain", "training", "target"])
    del values[key]
    return str(key)


VALUES: tuple[Callable[[Draw, dict[str, Any]], str], ...] = (
    _unknown, _wrong_type, _no_number, _no_number, _out_of_range, _no_switch, _bad_beta, _bad_name, _missing,
)  # fmt: skip

# --- planted errors in the text -----------------------------------------------------------------------------------


def _twice(draw: Draw, text: str) -> str:
    """A key of the top level once more, in one spelling or another."""
    if text.startswith("{") or "\n{" in text:
        return "{name: a, name: b}"
    key = draw.choice("twice", ["name", "'name'", '"name"', "? name\n", "!!str name"])
    return text.replace("...", "").rstrip("# end\r\n") + f"\n{key}: again\n"


def _tab(draw: Draw, text: str) -> str:
    draw.notes.append("tab")
    return "probes:\n\tcount: 4\n" + text


def _broken(draw: Draw, text: str) -> str:
    return f"{text}\n{draw.choice('broken', BROKEN)}"


def _two_documents(draw: Draw, text: str) -> str:
    draw.notes.append("two documents")
    return f"{text}\n--- {{a: 1}}\n"


def _other(draw: Draw, text: str) -> str:
    return str(draw.choice("text", OTHER))


TEXTS = (_twice, _tab, _broken, _two_documents, _other)


# --- encodings: the same study or a refusal -----------------------------------------------------------------------


def _encoded(draw: Draw, text: str) -> bytes:
    return text.encode(draw.choice("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]))


def _latin(draw: Draw, text: str) -> bytes:
    draw.notes.append("latin-1")
    return ("# für Zoë\n" + text).encode("latin-1", errors="replace")


def _zeros(draw: Draw, text: str) -> bytes:
    draw.notes.append("zeros at the end")
    return text.encode() + b"\0" * 16


ENCODINGS = (_encoded, _latin, _zeros)
