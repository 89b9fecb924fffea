"""The command line: `rnnlimits VERB`. Results on stdout, everything else on stderr.

`entry` runs a verb and turns what happens into an exit code, `page` is `rnnlimits --help`, `words` is what verbs share;
each other module holds a few verbs, and `page.GROUPS` lists them all.
"""

from __future__ import annotations

from rnnlimits.cli.entry import main

__all__ = ["main"]
