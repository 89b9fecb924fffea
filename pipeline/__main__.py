"""`python -m rnnlimits` is `rnnlimits`."""

from __future__ import annotations

import sys

from rnnlimits.cli import main

if __name__ == "__main__":
    sys.exit(main())
