"""CSV files as other programs write them: encodings, separators, decimal signs, missing values, and damage."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from random import Random

import numpy as np
from draws import Draw, reader
from series_truth import EITHER, READ, REFUSE, Truth, chain_of, judge

FILES = ("s.csv", "série ü.csv", "a b.csv", "100%.csv", "it's.txt", "series", "数据.csv", "s.CSV")
NAMES = ("p", "q", "t", "x 1", "höhe", "θ", "a;b", "P", "T (K)", "0", "value,1", "nan")
SCALES = (1.0, 1.0, 1.0, 1e3, 1e-3, 1e30, 1e-30, 1e150, 1e200, 1e-200, 1e300, 1e-310)
STYLES = ("{!r}", "{:.3f}", "{:.4e}", "{:.17g}", "{:+.5f}", "{:.0f}", "{:E}")
NOT_NUMBERS = (
    "",
    "NA",
    "nan",
    "NaN",
    "-",
    "?",
    "NULL",
    "n/a",
    "inf",
    "-Infinity",
    "1e999",
    "1.2.3",
    "0x1A",
    "--",
    "#N/A",
    "1 2",
)
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-16-le")


@dataclass
class Sheet:
    """Cells as text, and how they become bytes."""

    header: list[str]
    rows: list[list[str]]
    separator: str = ","
    encoding: str = "utf-8"
    end: str = "\n"
    final: bool = True
    before: list[str] = field(default_factory=list)
    quotes: float = 0.0
    blanks: float = 0.0
    spaces: bool = False

    def content(self, random: Random) -> bytes:
        """The file, blank lines and superfluous quotes drawn."""
        lines = [*self.before, self._line(self.header, random)]
        for row in self.rows:
            lines += [""] * (random.random() < self.blanks) + [self._line(row, random)]
        text = self.end.join(lines) + self.end * self.final
        return text.encode(self.encoding, errors="replace")

    def _line(self, cells: list[str], random: Random) -> str:
        return self.separator.join(self._cell(cell, random) for cell in cells)

    def _cell(self, cell: str, random: Random) -> str:
        if self.separator in cell or '"' in cell or random.random() < self.quotes:
            return '"' + cell.replace('"', '""') + '"'
        return f" {cell} " if self.spaces and random.random() < 0.5 else cell


@reader
def csv_file(draw: Draw) -> str:
    """A recorded series as CSV: read as it was written, or refused."""
    path = draw.folder / draw.choice("file", FILES)
    sheet, truth, used = _table(draw)
    _harmless(draw, sheet)
    if draw.random.random() < 0.5:
        draw.random.choice(list(UNUSUAL.values()))(draw, sheet, truth, used)
    if draw.random.random() < 0.35:
        draw.random.choice(list(WRONG.values()))(draw, sheet, truth, used)
    content = sheet.content(draw.random)
    path.write_bytes(gzip.compress(content) if draw.chance("gz", 0.02) else content)
    if "gz" in draw.notes:
        truth.worse(EITHER)
    chain = chain_of(draw, path, used)
    if chain["standardize"] and _is_constant(truth, used, chain):
        truth.worse(REFUSE)
    return judge(draw, path, chain, truth)


def _table(draw: Draw) -> tuple[Sheet, Truth, list[str]]:
    """Columns of drawn scale and style; those that the study uses come in any order among the others."""
    random = draw.random
    names = random.sample(NAMES, random.randint(2, 4))
    used = random.sample(names, random.randint(1, 2))
    draw.notes.append(f"columns={names}, used={used}")
    count = random.randint(17, 40)
    texts: dict[str, list[str]] = {}
    scale_promise = READ
    for name in names:
        scale, style = random.choice(SCALES), random.choice(STYLES)
        texts[name] = [style.format(random.gauss(random.choice([0, 3]), 1) * scale) for _ in range(count)]
        if name in used:
            draw.notes.append(f"scale={scale}")
            scale_promise = max(scale_promise, READ if 1e-100 < scale < 1e100 else EITHER)
    truth = Truth({name: np.array([float(text) for text in texts[name]]) for name in names}, scale_promise)
    if draw.chance("a column of text", 0.2):
        other = next(iter(set(names) - set(used)), None)
        if other is not None:
            texts[other] = [random.choice(["a", "b, c", "", "é", "2020-01-01"]) for _ in range(count)]
    return Sheet(names, [list(row) for row in zip(*texts.values(), strict=True)]), truth, used


def _place(truth: Truth, name: str) -> int:
    return list(truth.columns).index(name)


def _is_constant(truth: Truth, used: list[str], chain: dict[str, object]) -> bool:
    return any(len(set(truth.columns[str(name)])) == 1 for name in {*chain["columns"], chain["target_column"]})  # type: ignore[misc]


def _harmless(draw: Draw, sheet: Sheet) -> None:
    """What RFC 4180 and spreadsheets leave open: it must be read."""
    sheet.end = draw.choice("end", ["\n", "\n", "\r\n"])
    sheet.final = not draw.chance("no final line end", 0.2)
    sheet.quotes = 0.3 if draw.chance("quotes", 0.2) else 0.0
    sheet.spaces = draw.chance("spaces", 0.1)
    sheet.blanks = 0.1 if draw.chance("blank lines", 0.1) and len(sheet.header) > 1 else 0.0
    sheet.encoding = "utf-8-sig" if draw.chance("byte order mark", 0.1) else "utf-8"


# --- unusual: read as it was meant, or refused --------------------------------------------------------------------


def _separator(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    sheet.separator = draw.choice("separator", SEPARATORS[1:])
    truth.worse(EITHER)


def _decimal_comma(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    sheet.separator = draw.choice("decimal comma, separator", SEPARATORS)
    sheet.rows = [[cell.replace(".", ",") for cell in row] for row in sheet.rows]
    truth.worse(EITHER)


def _encoding(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    sheet.encoding = draw.choice("encoding", ENCODINGS)
    truth.worse(EITHER)


def _grouped(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    mark = draw.choice("thousands", ["_", ",", " ", "'", "\u00a0"])
    place = _place(truth, used[0])
    truth.columns[used[0]] = np.array([float(draw.random.randint(1000, 9_999_999)) for _ in sheet.rows])
    for row, value in zip(sheet.rows, truth.columns[used[0]], strict=True):
        row[place] = f"{int(value):,}".replace(",", mark)
    truth.worse(EITHER)


def _other_digits(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    first = ord(draw.choice("digits", ["٠", "０", "०"]))
    digits = {ord("0") + value: chr(first + value) for value in range(10)}
    sheet.rows = [[cell.translate(digits) for cell in row] for row in sheet.rows]
    truth.worse(EITHER)


def _lines_above(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    sheet.before = [draw.choice("line above", ["# made by hand", "Title", "sep=,", "", " ", "# a, b"])]
    truth.worse(EITHER)


def _old_line_ends(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    draw.notes.append("carriage returns alone")
    sheet.end = "\r"
    truth.worse(EITHER)


def _trailing_separator(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    draw.notes.append("trailing separator")
    sheet.header = [*sheet.header, ""]
    sheet.rows = [[*row, ""] for row in sheet.rows]
    truth.worse(EITHER)


def _strange_space(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    space = draw.choice("space", ["\u00a0", "\u200b", "\ufeff", "\t", "\u2003"])
    sheet.header = [name + space for name in sheet.header]
    truth.worse(EITHER)


UNUSUAL = {
    f.__name__: f
    for f in (
        _separator, _decimal_comma, _encoding, _grouped, _other_digits, _lines_above, _old_line_ends,
        _trailing_separator, _strange_space,
    )
}  # fmt: skip


# --- wrong: refused -----------------------------------------------------------------------------------------------


def _line_of(sheet: Sheet, truth: Truth, row: int) -> tuple[str, ...]:
    """How a refusal names a row: by its line, unless the file is unusual in other ways."""
    plain = truth.promise == READ and not sheet.blanks and not sheet.before
    return (f"line {row + 2}",) if plain else ()


def _not_a_number(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    row, name = draw.random.randrange(len(sheet.rows)), draw.choice("bad column", used)
    sheet.rows[row][_place(truth, name)] = draw.choice("cell", NOT_NUMBERS)
    truth.columns[name][row] = np.nan
    truth.worse(REFUSE, *_line_of(sheet, truth, row))


def _ragged(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    row = draw.random.randrange(len(sheet.rows))
    longer = draw.choice("longer", [True, False])
    sheet.rows[row] = [*sheet.rows[row], "1"] if longer else sheet.rows[row][:-1]
    truth.worse(REFUSE, *_line_of(sheet, truth, row))


def _twice(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    draw.notes.append("a column twice")
    sheet.header = [*sheet.header, used[0]]
    sheet.rows = [[*row, "1"] for row in sheet.rows]
    truth.worse(REFUSE, repr(used[0]))


def _absent(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    draw.notes.append("a column is absent")
    sheet.header[_place(truth, used[0])] = "another"
    truth.worse(REFUSE, repr(used[0]))


def _short(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    sheet.rows = sheet.rows[: draw.choice("rows", [0, 1, 15])]
    truth.worse(REFUSE)


def _units(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    draw.notes.append("a row of units")
    sheet.rows.insert(0, ["m/s"] * len(sheet.header))
    truth.worse(REFUSE, *_line_of(sheet, truth, 0))


def _binary(draw: Draw, sheet: Sheet, truth: Truth, used: list[str]) -> None:
    row, name = draw.random.randrange(len(sheet.rows)), used[0]
    sheet.rows[row][_place(truth, name)] += draw.choice("byte", ["\0", "\x1b", "\x7f", "\ufffd"])
    truth.worse(REFUSE)


WRONG = {f.__name__: f for f in (_not_a_number, _ragged, _twice, _absent, _short, _units, _binary)}
