"""The verb atlas: one study in many variants."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rnnlimits.base import launchers
from rnnlimits.cli.words import ATLASES, Verb, backend_option, completed, results_option, say, whole


def _atlas(options: argparse.Namespace) -> None:
    from rnnlimits.results import atlas, atlas_figure
    from rnnlimits.run import shipped, workflow

    launchers.require_alone("atlas", os.environ)
    chosen = atlas.load(shipped.atlas(options.atlas, say))
    paths = atlas.write_studies(chosen, options.results)
    if options.write_only:
        print("\n".join(str(path) for path in paths.values()))
        return
    for number, (variant, study) in enumerate(chosen.studies.items(), 1):
        say(f"--- {variant} ({number} of {len(paths)}): {paths[variant]}")
        code = workflow.run(study, paths[variant], options.results, options.cores, options.further, options.backend)
        if code != 0:
            raise SystemExit(code)
    rates = atlas.rates(chosen, options.results)
    print(atlas.table(rates))
    print(f"\nwhere to look:\n  {atlas.write_table(chosen, options.results, rates)}")
    for path in atlas_figure.draw(rates, chosen.root(options.results)):
        print(f"  {path}")


def _arguments(parser: argparse.ArgumentParser) -> None:
    about = "atlas file (YAML: name, base, variants), or the name of one that ships"
    completed(parser.add_argument("atlas", type=Path, metavar="ATLAS", help=about), ATLASES)
    parser.add_argument("--write-only", action="store_true", help="only write the study files, without running them")
    parser.add_argument("--cores", type=whole, metavar="N", help="cores to use (default: all)")
    results_option(parser)
    backend_option(parser)


ATLAS = Verb("atlas", "run a study in many variants", "rnnlimits atlas atlas-small", _atlas, _arguments)
