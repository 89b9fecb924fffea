"""Figures to files, complete or not at all: only those that show something else than their files, on all cores."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from ctypes import CDLL
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rnnlimits import quantities
from rnnlimits.base import progress
from rnnlimits.files import durable
from rnnlimits.files.identities import NEAR, mark
from rnnlimits.files.seal import digest_in
from rnnlimits.files.snapshot import tail

if TYPE_CHECKING:
    from rnnlimits.plan.layout import StudyFolder

DOTS_PER_INCH = 200  # of PNG
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
DIGITS = 12
PARENT_DEATH = 1  # of prctl(2): the signal at the end of the parent


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure that is not drawn yet. shows: equal for equal figures; what draws them is known of itself."""

    name: str
    draw: Callable[[], Figure]
    shows: str

    @property
    def digest(self) -> str:
        """Digits of what is shown, by which code."""
        return hashlib.sha256(f"{_code()} {self.shows}".encode()).hexdigest()[:DIGITS]


def entitle(figure: Figure, title: str) -> None:
    """Give a figure its title, in smaller letters if it would not fit."""
    text = figure.suptitle(title)
    excess = text.get_window_extent().width / (0.97 * figure.bbox.width)
    text.set_fontsize(float(text.get_fontsize()) / max(1.0, excess))


def seals(paths: Iterable[Path]) -> str:
    """What figures of the values of these files show: the checksums of the files."""
    return " ".join(digest_in(tail(path)) for path in paths)


@cache
def _code() -> str:
    """Digits of the code that draws, and of the words that it takes from quantities."""
    digest = hashlib.sha256(matplotlib.__version__.encode())
    for folder in (Path(__file__).parent, Path(quantities.__file__).parent):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def save_all(layout: StudyFolder, study_id: str, drawings: Iterable[Drawing]) -> list[str]:
    """Write all figures of a study as SVG and PNG into its folder of figures, and remove others; returns their names.

    Each carries the study's identity and the names of all, so that a file of another study, or a missing one, shows.
    """
    every = list(drawings)
    names = [one.name for one in every]
    marks = {one.name: mark(study_id=study_id, figures=",".join(names), drawn=one.digest) for one in every}
    due = [one for one in every if not all(_carries(path, marks[one.name]) for path in _paths(layout, one).values())]

    def save(one: Drawing) -> None:
        progress.now(f"figures: writing {one.name}")
        write(one.draw(), _paths(layout, one), marks[one.name])

    on_all_cores(save, due)
    for path in layout.figures.glob("*") if every else ():
        if path.suffix.removeprefix(".") in METADATA and path.stem not in names:
            path.unlink()
    return names


def _paths(layout: StudyFolder, drawing: Drawing) -> dict[str, Path]:
    return {suffix: layout.figure(drawing.name, suffix) for suffix in METADATA}


def _carries(path: Path, identifier: str) -> bool:
    try:
        with path.open("rb") as file:
            return identifier.encode() in file.read(NEAR)
    except OSError:
        return False


def write(figure: Figure, paths: Mapping[str, Path], identifier: str | None = None) -> list[Path]:
    """Write a figure in each format to its path, complete or not at all, without dates, and close it.

    identifier: a text for the files' metadata.
    """
    # Panels are laid out once, and not again for each format: that takes most of the time.
    if (engine := figure.get_layout_engine()) is not None:
        for ax in figure.axes:
            for spine in ax.spines.values():
                spine.set_in_layout(False)  # it would only find the place of all ticks again
        engine.execute(figure)
        figure.set_layout_engine("none")
    for suffix, path in paths.items():
        image = io.BytesIO()
        named = {"Identifier": identifier} if identifier else {}
        _print(figure, suffix, image, {**METADATA[suffix], **named})
        durable.require_folder(path)
        durable.write_bytes(path, image.getvalue())
    plt.close(figure)
    return list(paths.values())


def _print(figure: Figure, suffix: str, image: io.BytesIO, metadata: Mapping[str, Any]) -> None:
    """Draw once: `savefig` draws a figure that has, or had, a layout engine once more before, to lay it out again."""
    if suffix == "svg":
        FigureCanvasSVG(figure).print_svg(image, metadata=dict(metadata))  # type: ignore[no-untyped-call]
    else:
        figure.set_dpi(DOTS_PER_INCH)
        FigureCanvasAgg(figure).print_png(image, metadata=dict(metadata))  # type: ignore[no-untyped-call]


# --- all cores -------------------------------------------------------------------------------------------------


def on_all_cores(save: Callable[[Drawing], None], drawings: Sequence[Drawing]) -> None:
    """Save every figure, some of them in copies of this process; where a copy fails, this process does its work.

    Raises what `save` raises.
    """
    count = min(len(os.sched_getaffinity(0)), len(drawings))
    shares = [drawings[first::count] for first in range(count)]
    copies = {_copy(save, share): share for share in shares[1:]}
    for one in shares[0] if shares else ():
        save(one)
    for process, share in copies.items():
        if os.waitpid(process, 0)[1] != 0:
            for one in share:
                save(one)


def _copy(save: Callable[[Drawing], None], drawings: Sequence[Drawing]) -> int:
    """The number of a copy of this process that saves figures; it ends with this one, and leaves by no other way."""
    parent = os.getpid()
    if process := os.fork():
        return process
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL)
        if os.getppid() == parent:
            for one in drawings:
                save(one)
            code = 0
    finally:
        os._exit(code)
