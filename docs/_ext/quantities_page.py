"""The reference of quantities, from their registry: estimator, variable, title, kind of expectation, files."""

from __future__ import annotations

from rnnlimits.quantities.base import Quantity, registered

HEAD = """# Quantities

Every row of `rates.csv` is one of these quantities by one of its estimators, along its variable. What is expected, and
why, is in the [model](../../model.md) and, for Elman networks, in [recurrent NTK](../../rntk.md); what is predicted at
a study's own N, how, and with what error, is in section 8 of the model; how to add one is in
[your own quantity](../../howto/own-quantity.md).

| quantity, estimator | in | what it is | ordinate, units | expected | estimated from |
|---|---|---|---|---|---|
"""
FILES = {
    "train": "ensemble of the cell",
    "depths": "ensembles of the cell at both depths",
    "twin": "twins of its K",
    "rich": "rich twins of its cell",
    "tangents": "tangents of its cell",
    "draw": "draw.h5",
    "poisson": "poisson.h5",
    "kernel": "kernels of networks of its width",
    "descent": "descents of networks of its width",
    "start": "kernels.h5 and the start of the widest descents",
}


def page() -> str:
    """The page as Markdown, in the order of the rows of rates.csv."""
    return HEAD + "\n".join(_row(entry) for entry in registered(Quantity)) + "\n"


def _row(entry: Quantity) -> str:
    sources = ", ".join(FILES[source] for source in entry.sources)
    kind = entry.expected_kind or "no value"
    name, words = f"`{entry.name}` {entry.estimator}".rstrip(), entry.title.replace("|", "\\|").replace("^", "\\^")
    cells = (name, entry.variable.words, words, f"{entry.ordinate}, {entry.units}", kind, sources)
    return "| " + " | ".join(cells) + " |"
