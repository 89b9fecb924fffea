"""YAML text to plain values: safe, YAML 1.2 scalars (1e-3 is a number, no is text), each key once."""

from __future__ import annotations

import re
from typing import Any

import yaml

from rnnlimits.base.errors import StudyError

# Only these scalars are anything but text. PyYAML itself reads YAML 1.1: 1e-3 is text, 010 is 8.
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own hook)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; raise ConstructorError at the second of two equal keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    problem = f"the key {key.value} is given twice; keep one"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def parse(text: str, origin: str) -> object:
    """Plain Python values of one YAML document.

    `origin` names the text in errors. Raises StudyError with line and column for anything that is not YAML.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise StudyError(f"{origin}: {where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{origin}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise StudyError(f"{origin}: nested too deep; a study has at most five levels") from error
    except ValueError as error:  # numbers of thousands of digits
        raise StudyError(f"{origin}: a number cannot be read: {error}") from error
