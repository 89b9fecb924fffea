"""A snapshot of a study as lines of a terminal, of any width and height, with or without colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rnnlimits.base.progress import readable_time
from rnnlimits.watch.moment import Estimate, Failure, Pace, PartNow, Snapshot, Worker

STYLES = {"running": "bold green", "stopped": "bold red", "finished": "bold blue", "partial": "yellow", "done": "dim"}
ORDER = ("running", "partial", "waiting")  # of the rows; finished parts are only counted
MOST_FAILURES = 4
WIDE = 76  # columns from which rows also show rates
BAR = 10
LEAST_ROWS = 3


def screen(seen: Snapshot, console: Console, height: int | None = None, keys: str = "") -> RenderableType:
    """The screen; height: available lines (None: as many as needed); keys: a last line about keys."""
    wide = console.width >= WIDE
    top = [*_head(seen), *_failures(seen.failures)]
    texts = [_short(text, console) if height else text for text in top]
    foot = [Text(keys, style="dim", no_wrap=True, overflow="ellipsis")] if keys else []
    rows = None if height is None else max(LEAST_ROWS, height - len(texts) - len(foot) - 2)
    return Group(*texts, *_parts(seen, rows, wide), *foot)


def _short(text: Text, console: Console) -> Text:
    """The text cut to one line of the terminal."""
    cut = text.copy()
    cut.truncate(console.width, overflow="ellipsis")
    return cut


def _head(seen: Snapshot) -> Iterator[Text]:
    yield Text.assemble((seen.study, "bold"), "  ", (seen.state, STYLES.get(seen.state, "")), _since(seen))
    if not seen.parts:
        yield Text("nothing planned yet: a run writes study.yaml when it starts")
        return
    (cells_done, cells), (done, blocks) = seen.cells, seen.blocks
    yield Text(f"cells {cells_done} of {cells}, blocks {done} of {blocks}  {bar(done, blocks)}")
    for pace in seen.pace:
        if (pace.now or pace.average) and seen.state == "running":
            yield Text(_pace(pace, seen.workers))
    if seen.state == "running":
        yield Text(_left(seen.left) if done < blocks else "all blocks are done")
    if seen.stages and seen.state != "finished":
        yield Text("then " + ", ".join(f"{name} ({state})" for name, state in seen.stages.items()))
    if seen.stale:
        more = f" (and {len(seen.stale) - 1} more)" if len(seen.stale) > 1 else ""
        yield Text(f"not of this study: {seen.stale[0]}{more}; rnnlimits run recomputes them", style="red")
    if seen.state == "finished":
        yield Text(f"finished: rnnlimits summary {seen.folder} prints its rates; a report lies there if one was made")
    if seen.state == "stopped":
        yield Text("no process works on it: rnnlimits run with its study resumes where it stopped")


def _since(seen: Snapshot) -> str:
    run = seen.run
    if seen.state != "running" or run.since is None:
        return ""
    if run.alive is None:
        silent = readable_time(run.last_sign_seconds or 0.0)
        return f", it seems: started on {run.host}, known only from the logs; written {silent} ago"
    return f" for {readable_time(seen.time - run.since)} on {run.host}, process {run.processes[0]}"


def _pace(pace: Pace, workers: Sequence[Worker]) -> str:
    words = []
    if pace.now is not None:
        ranks = sum(worker.ranks or 0 for worker in workers if worker.unit == pace.unit and worker.rate)
        each = f" ({pace.now / ranks:.3g} per rank, {ranks} rank{'s' * (ranks > 1)})" if ranks else ""
        words.append(f"{pace.now:.3g} now{each}")
    if pace.average is not None:
        words.append(f"{pace.average:.3g} on average since the start")
    return f"{pace.unit}/s  {'; '.join(words)}"


def _left(left: Estimate | None) -> str:
    if left is None:
        return "time left of the blocks: no estimate yet"
    low, high = readable_time(left.low_seconds), readable_time(left.high_seconds)
    span = f"about {high}" if left.high_seconds <= 1.1 * left.low_seconds else f"between {low} and {high}"
    rest = f", without {' and '.join(left.without)}, for which no estimate exists yet" if left.without else ""
    return f"time left of the blocks: {span}{rest}"


def _failures(failures: Sequence[Failure]) -> Iterator[Text]:
    for failure in failures[:MOST_FAILURES]:
        yield Text.assemble((f"{failure.where}: ", "bold red"), failure.line)
    if (more := len(failures) - MOST_FAILURES) > 0:
        yield Text(f"and {more} more failure{'s' * (more > 1)} (--json lists them)", style="red")


def bar(done: float, planned: float) -> str:
    """A bar of BAR characters that every font and every terminal has."""
    full = int(BAR * done / planned) if planned else BAR
    return f"[{'#' * full}{'.' * (BAR - full)}]"


def _parts(seen: Snapshot, rows: int | None, wide: bool) -> list[RenderableType]:
    open_parts = sorted((part for part in seen.parts if part.state in ORDER), key=lambda part: ORDER.index(part.state))
    visible = open_parts if rows is None else open_parts[:rows]
    table = Table(box=None, pad_edge=False, show_header=bool(visible), header_style="dim")
    table.add_column("part", no_wrap=True, overflow="ellipsis")
    table.add_column("", no_wrap=True)
    table.add_column("blocks", no_wrap=True, justify="right")
    if wide:
        table.add_column("", no_wrap=True, min_width=BAR + 2)
        table.add_column("saved", no_wrap=True, justify="right")
        table.add_column("now", no_wrap=True, overflow="ellipsis")
    for part in visible:
        table.add_row(*_row(part, seen.workers, wide))
    return [table, *_rest(seen, len(open_parts) - len(visible))] if visible else _rest(seen, 0)


def _row(part: PartNow, workers: Sequence[Worker], wide: bool) -> list[RenderableType]:
    row: list[RenderableType] = [part.name, Text(part.state, style=STYLES.get(part.state, ""))]
    row.append(f"{part.done}/{part.planned}")
    if wide:
        row += [Text(bar(part.done, part.planned)), str(part.saved) if part.saved else "", Text(_now(part, workers))]
    return row


def _now(part: PartNow, workers: Sequence[Worker]) -> str:
    """The state of a part from its log: share, rate, rate of each rank, GPUs."""
    for worker in workers:
        if part.state == "running" and worker.rate and worker.log == part.name:
            each = f", {worker.per_rank:.3g}/s a rank" if worker.per_rank else ""
            devices = f"; {worker.devices}" if worker.devices else ""
            return f"{worker.share:.0%}, {worker.rate:.3g}/s{each}{devices}"
    return ""


def _rest(seen: Snapshot, hidden: int) -> list[RenderableType]:
    done = sum(part.state == "done" for part in seen.parts)
    words = [f"{hidden} more to do"] if hidden else []
    words += [f"{done} of {len(seen.parts)} parts done"] if seen.parts else []
    return [Text(", ".join(words), style="dim")] if words else []
