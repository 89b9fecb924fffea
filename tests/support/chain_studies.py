"""Small studies of a chain, shared by the tests of all kinds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rnnlimits import study as studies
from rnnlimits.kernels.interface import Replicas
from rnnlimits.study import Study

SEED = 13


REPLICAS: Replicas = np.array([0, 3, 8], dtype=np.uint32)


def study_of(chain: str, folder: Path, more: str = "") -> Study:
    (folder / "series.csv").write_text("level\n" + "".join(f"{math.sin(0.7 * k)!r}\n" for k in range(23)))
    target = "" if "recorded" in chain else "target: {}\n"
    text = f"name: chains\nseed: {SEED}\nchain: {chain}\n{target}training: {{beta: [0.75], width: [64]}}\n{more}"
    return studies.loads(text, folder / "study.yaml")
