"""Pages that are written from the program when the site is built, into reference/generated (never committed)."""

from __future__ import annotations

from types import ModuleType

import architecture
import command_page
import quantities_page
import schema_page
from sphinx.application import Sphinx

import rnnlimits
from rnnlimits.cli.page import parser
from rnnlimits.files import durable
from rnnlimits.study import json_schema

FOLDER = architecture.DOCS / "reference" / "generated"


def pages() -> dict[str, str]:
    """Every generated page, by its file name."""
    table = architecture.groups()
    return {
        "study.md": schema_page.page(json_schema()),
        "quantities.md": quantities_page.page(),
        "commands.rst": command_page.page(parser()),
        "modules.rst": _contents(table),
        f"modules-{architecture.TOP}.rst": _top(),
        **{f"modules-{name}.rst": _modules(group) for name, group in table.items()},
    }


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _contents(table: dict[str, architecture.Group]) -> str:
    """Groups from the top of the picture to its bottom."""
    order = list(reversed(table.values()))
    lines = [f"- :doc:`{group.title} <modules-{group.name}>`: {group.about}" for group in order]
    lines.insert(0, f"- :doc:`{architecture.TOP} <modules-{architecture.TOP}>`: The public names")
    entries = "\n".join(f"   modules-{name}" for name in (architecture.TOP, *(group.name for group in order)))
    words = "By package, as in the picture of the :doc:`/architecture`: each uses only packages further down."
    return "\n".join(
        [_heading("Modules", "="), words, "", *lines, "", ".. toctree::", "   :hidden:", "", entries, ""],
    )


def _top() -> str:
    """The package itself: its docstring, and links to what its public names stand for."""
    names = [name for name in rnnlimits.__all__ if not name.startswith("_")]
    links = [f"- :py:obj:`{name} <{_home(name)}>`" for name in names]
    lines = [_heading(f"``{architecture.TOP}``", "="), f".. automodule:: {architecture.TOP}", "", *links, ""]
    return "\n".join(lines)


def _home(name: str) -> str:
    """Where a public name is defined."""
    value = getattr(rnnlimits, name)
    return value.__name__ if isinstance(value, ModuleType) else f"{value.__module__}.{value.__qualname__}"


def _modules(group: architecture.Group) -> str:
    names = [name for name in architecture.modules() if architecture.group_of(name) == group.name]
    lines = [_heading(group.title, "="), f"{group.about}.", ""]
    for name in names:
        if name != "rnnlimits.__main__":  # importing it would run the program
            lines += [
                _heading(f"``{name}``", "-"),
                f".. automodule:: {name}",
                "   :members:",
                "   :ignore-module-all:",
                "",
            ]
    return "\n".join(lines)


def _write(app: Sphinx) -> None:
    """Before Sphinx looks for pages. What has not changed is not touched, so that it is not read again."""
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for old in FOLDER.iterdir():
        if old.suffix in (".md", ".rst") and old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            durable.write_bytes(path, text.encode())


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
