"""Read from draw.h5 what solving for the limit needs: nodes, and moments by block."""

from __future__ import annotations

from dataclasses import replace

from rnnlimits.files import store
from rnnlimits.study import Study
from rnnlimits.theory.flow import Draws
from rnnlimits.theory.laws import Nodes
from rnnlimits.theory.moments import Moments
from rnnlimits.training import plan
from rnnlimits.training.layout import Layout


def read_draws(study: Study, layout: Layout) -> Draws:
    """The draws of a study, as solving for the limit needs them."""
    with store.open_complete(layout.draw, "draw", draw_id=plan.draw_id(study)) as file:
        a, b, y2, count = (file[name].finite() for name in ("A", "b", "y2", "count"))
        blocks = [Moments(a[i], b[i], float(y2[i]), float(count[i])) for i in range(len(b))]
        draws = Draws(read_nodes(file, "node"), blocks, bool(file.attrs["exact"]))
        if "A_check" not in file:
            return draws
        check = Moments(file["A_check"].finite(), file["b_check"].finite(), draws.blocks[0].y2, draws.blocks[0].weight)
        return replace(draws, check_nodes=read_nodes(file, "node_check"), check=check)


def read_nodes(file: store.File, name: str) -> Nodes:
    """One of the two node sets of a draw file."""
    return Nodes(*(file[f"{name}_{field}"].finite() for field in ("w", "weight", "b", "b_squared")))
