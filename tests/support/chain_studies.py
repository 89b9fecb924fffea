"""Small studies of a chain, shared by the tests of all kinds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rnnlimits import study as studies
from rnnlimits.kernels.interface import Replicas
from rnnlimits.study import Study

SEED = 13
STEP = """
import numpy as np

MIXED = np.array([[0.4, -0.3, 0.2], [0.1, 0.5, -0.2], [0.2, 0.1, 0.3]])


def step(h, xi):
    return np.tanh(h) @ MIXED.T + 0.5 * xi + 0.1
"""  # transcendental functions and a product, whose bits could depend on shapes

REPLICAS: Replicas = np.array([0, 3, 8], dtype=np.uint32)


def study_of(chain: str, folder: Path, more: str = "") -> Study:
    (folder / "series.csv").write_text("level\n" + "".join(f"{math.sin(0.7 * k)!r}\n" for k in range(23)))
    (folder / "step.py").write_text(STEP)
    target = "" if "recorded" in chain else "target: {}\n"
    text = f"name: chains\nseed: {SEED}\nchain: {chain}\n{target}training: {{beta: [0.75], width: [64]}}\n{more}"
    return studies.loads(text, folder / "study.yaml")
