"""How Sphinx builds the site: `make docs`. Warnings are errors, and the built pages ask nothing of the network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]

from rnnlimits import __version__  # noqa: E402 - the path above has to come first

project = "rnnlimits"
author = "the authors of rnnlimits"
copyright = "the authors of rnnlimits, BSD 3-clause licence"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "myst_nb",  # myst-parser, and notebooks as pages
    "repository_links",  # links that also work where the repository is browsed
    "plain_docstrings",  # docstrings are plain English, not reStructuredText
    "names_in_signatures",
    "generated_pages",  # reference/generated: modules, schema, command line
    "mathml",  # equations without a script
    "accessible",
]
exclude_patterns = ["_build", "_ext"]
nitpicky = True

# --- Markdown ----------------------------------------------------------------------------------------------
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks are executed by a test; the site shows what is stored in them

# --- docstrings --------------------------------------------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"
# Types of other projects, whose pages are not asked for: a build needs no network. Our own names have to resolve.
_FOREIGN = (
    r"(argparse|array|collections|concurrent|contextlib|ctypes|datetime|enum|fractions|functools|io|logging|multiprocessing"
    r"|np|numpy|npt|os|pathlib|subprocess|tempfile|threading|types|typing|h5py|matplotlib|mpi4py|MPI|pydantic"
    r"|pydantic_core|annotated_types|scipy|sklearn|snakemake|cupy|rich|pandas|plotly|xarray)(\.\w+)*"
)
nitpick_ignore_regex = [(r"py:.*", _FOREIGN)]

# --- pages -------------------------------------------------------------------------------------------------
html_theme = "furo"
html_title = f"rnnlimits {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # would fetch pages, which browsers refuse to pages opened as files
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
