"""What signatures need so that every name in them has its meaning on the page.

Imports for the type checker alone are carried out; types of named tuples and of dataclasses are resolved in the modules
in which they were written. Names of ours that no page describes (private classes, type variables) stay plain text
instead of broken links.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import typing
from types import ModuleType
from typing import Any

import architecture
from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?(?:typing\.)?Any, \.\.\.\], ~?numpy\.dtype\[([~\w.]+)\]\]")

# Defaults that a dataclass has no text for: a function, a class, a factory. Sphinx cannot parse a signature with these.
DEFAULT = re.compile(r"= <(?:function |class ')([\w.]+)'?(?: at 0x[0-9a-f]+)?>")


def _guarded(source: str) -> list[ast.stmt]:
    """What stands below `if TYPE_CHECKING:`."""
    tests = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    return [line for node in tests if ast.unparse(node.test) == "TYPE_CHECKING" for line in node.body]


def _settle_tuples(module: ModuleType) -> None:
    """Python builds the signature of a named tuple from texts, which Sphinx then looks up in the wrong module."""
    for found in vars(module).values():
        if isinstance(found, type) and hasattr(found, "_fields") and found.__module__ == module.__name__:
            found.__new__.__annotations__ = typing.get_type_hints(found)


def _settle_dataclasses(module: ModuleType) -> None:
    """Inherited fields have types whose names only the module of the base class knows."""
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__ == module.__name__
        if own and dataclasses.is_dataclass(value) and "__init__" in vars(value):
            hints = typing.get_type_hints(value, include_extras=True)
            types = {field.name: hints[field.name] for field in dataclasses.fields(value) if field.init}
            value.__init__.__annotations__ = {**types, "return": None}


def _settle(app: Sphinx) -> None:
    for name, path in architecture.modules().items():
        if name == "rnnlimits.__main__":  # importing it would run the program
            continue
        module = importlib.import_module(name)
        body = _guarded(path.read_text(encoding="utf-8"))
        exec(compile(ast.Module(body=body, type_ignores=[]), str(path), "exec"), vars(module))
        _settle_tuples(module)
    for name in architecture.modules():
        if name != "rnnlimits.__main__":
            _settle_dataclasses(importlib.import_module(name))


def _without_fields(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Sections of a study are described key by key elsewhere, ranges included; a protocol has no arguments."""
    bare = (
        what == "class"
        and isinstance(obj, type)
        and (issubclass(obj, BaseModel) or getattr(obj, "_is_protocol", False))
    )
    return ("", None) if bare else (_short(signature), _short(returns))


def _short(text: str | None) -> str | None:
    """NDArray and defaults as they were written."""
    if text is None:
        return None
    return DEFAULT.sub(r"= \1", ARRAY.sub(r"~numpy.typing.NDArray[\1]", text)).replace("= <factory>", "= ...")


def _is_undescribed(target: str) -> bool:
    """Whether a name is one of ours, and private or a type variable."""
    module, _, name = target.rpartition(".")
    if module not in architecture.modules():
        return False
    found = getattr(importlib.import_module(module), name, None)
    return isinstance(found, typing.TypeVar) or (found is not None and name.startswith("_"))


def _plain(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> nodes.Node | None:
    return content if node.get("refdomain") == "py" and _is_undescribed(node["reftarget"]) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _settle)
    app.connect("autodoc-process-signature", _without_fields)
    app.connect("missing-reference", _plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
