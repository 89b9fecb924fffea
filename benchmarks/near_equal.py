"""Equal and nearly equal sequences: the largest relative error of the recurrent NTK against fifty digits, as Markdown.

    python benchmarks/near_equal.py                        # some minutes; needs mpmath (the extra `test`)
    python benchmarks/near_equal.py --code FOLDER          # the same of another checkout's kernels
    python benchmarks/near_equal.py --backend numpy        # of the definition in NumPy

Each entry is the largest of several pairs x, x + difference * size of x * noise, ntk and nngp; `generic` compares
unlike sequences. Inputs are rounded to the precision that is tested before the exact values are computed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {  # settings, steps, inputs
    "relu": ({"sigma_w": 1.4, "sigma_b": 0.2}, 60, 1),
    "relu, 2 layers, 3 inputs": ({"layers": 2, "sigma_w": 1.3, "sigma_b": 0.1, "sigma_h": 0.5}, 20, 3),
    "relu, no bias": ({"sigma_w": 2**0.5}, 60, 2),
    "erf": ({"activation": "erf", "sigma_w": 1.4, "sigma_b": 0.2}, 60, 1),
    "erf, large inputs": ({"activation": "erf", "sigma_w": 1.4, "sigma_u": 10.0, "sigma_b": 0.2}, 60, 1),
    "tanh": ({"activation": "tanh", "sigma_w": 1.3, "sigma_b": 0.2}, 4, 1),
    "logistic": ({"activation": "logistic", "sigma_w": 1.3, "sigma_b": 0.2}, 4, 1),
}


def pairs(difference: float | None, dtype: str, steps: int, inputs: int, count: int) -> list[tuple[Any, Any]]:
    import numpy as np

    rng, made = np.random.default_rng(0), []
    for _ in range(count):
        x, noise = (rng.standard_normal((steps, inputs)).astype(dtype) for _ in range(2))
        y = noise if difference is None else x + np.dtype(dtype).type(difference) * noise
        made.append((x.astype(np.float64), y.astype(np.float64)))
    return made


def error(name: str, difference: float | None, dtype: str, backend: str) -> float:
    import fifty_digits

    from rnnlimits.kernels import rntk

    settings, steps, inputs = NETWORKS[name]
    network, worst = rntk.Elman(**settings), 0.0
    for x, y in pairs(difference, dtype, steps, inputs, 4 if steps > 4 else 1):
        exact = fifty_digits.kernels(x, y, network)
        found = rntk.gram([x], [y], network=network, kernel="both", dtype=dtype, backend=backend)
        worst = max(worst, *(fifty_digits.relative_error(a[0, 0], b) for a, b in zip(found, exact, strict=True)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--code", default=str(ROOT), help="the folder whose kernels are tried")
    parser.add_argument("--backend", default="host", help="host or numpy")
    parser.add_argument("--only", default="", help="names of networks that begin with this")
    asked = parser.parse_args()
    sys.path[:0] = [asked.code, str(ROOT / "tests" / "support")]
    import fifty_digits

    columns = [*fifty_digits.DIFFERENCES, None]
    heads = ["generic" if column is None else f"{column:g}" for column in columns]
    print(f"| network | precision | {' | '.join(heads)} |\n{'|---' * (2 + len(heads))}|")
    for name in (name for name in NETWORKS if name.startswith(asked.only)):
        for dtype in ("float32", "float64"):
            cells = [f"{error(name, column, dtype, asked.backend):.1g}" for column in columns]
            print(f"| {name} | {dtype} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
