"""Fuzz by hand:  python tests/fuzz --draws 10000 --runs 200 --seed 7;  one alone:  python tests/fuzz --seed 7 --draw 12

Prints every fault as it is found, with the command that repeats it, and in the end a table. Exit code 1 for a fault.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["RNNLIMITS_QUIET_SECONDS"] = "off"
sys.path.insert(1, str(Path(__file__).parent.parent / "support"))

import kinds
from draws import FAULT, READERS, RUNS, Result, one, table, turn

TOLD = 100  # draws between two lines of progress


def main() -> int:
    """Draw what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=kinds.SEED)
    parser.add_argument("--draws", type=int, default=0, metavar="N", help="inputs for the readers")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="whole runs")
    parser.add_argument("--from", type=int, default=0, metavar="INDEX", dest="start", help="the first one")
    parser.add_argument("--draw", type=int, metavar="INDEX", help="this draw alone")
    parser.add_argument("--run", type=int, metavar="INDEX", help="this run alone")
    parser.add_argument("--kind", help="only draws of this kind")
    parser.add_argument("--first", action="store_true", help="end at the first fault")
    options = parser.parse_args()
    wanted = [(READERS, index) for index in [options.draw] if index is not None]
    wanted += [(RUNS, index) for index in [options.run] if index is not None]
    alone = bool(wanted)
    for every, count in ((READERS, options.draws), (RUNS, options.runs)):
        wanted += [(every, index) for index in range(options.start, options.start + count)]
    if options.kind:
        wanted = [(every, index) for every, index in wanted if turn(every, options.seed, index) == options.kind]
    results: list[Result] = []
    for every, index in wanted:
        results.append(one(every, options.seed, index))
        if results[-1].outcome == FAULT or alone:
            print(results[-1], flush=True)
        if results[-1].outcome == FAULT and options.first:
            break
        if len(results) % TOLD == 0:
            print(f"{len(results)} of {len(wanted)} drawn", file=sys.stderr, flush=True)
    print(table(results))
    return int(any(result.outcome == FAULT for result in results))


if __name__ == "__main__":
    sys.exit(main())
