"""The reference of study files, from their JSON schema: every key with its type, default, range and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
RANGES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matches `{}`",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
}
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
# What a schema may say of a value; anything else has to be taught to this page before it builds.
KNOWN = {
    *(*RANGES, "type", "title", "description", "default", "anyOf", "oneOf", "items", "enum", "const", "$ref"),
    *("discriminator", "additionalProperties"),
}
INTRODUCTION = """\
# Keys of a study file

Written from `rnnlimits schema` when these pages are built. A key without a default has to be given, and unknown keys
are refused. `rnnlimits check STUDY` says in one line what is wrong with a file, and `--resolved FILE` writes it with
every default.
"""
TITLES = {"training": "A study of training", "rntk": "A study of the recurrent NTK: `experiment: rntk`"}


def page(schema: Schema) -> str:
    """The whole page as Markdown; `schema` as `rnnlimits.study.json_schema()` gives it."""
    sections = schema["$defs"]
    kinds = schema["properties"]["experiment"]
    lines = [
        INTRODUCTION,
        f"`experiment`: {_choices(kinds['enum'])}; `training` if left out. {kinds['description']}.\n",
    ]
    for kind, part in (("training", "else"), ("rntk", "then")):
        top = name_of(schema[part])
        lines += [f"## {TITLES[kind]}\n"]
        for name in reachable(top, sections):
            lines += _section(name, sections[name], top=name == top)
    return _once("\n".join(lines))


def _once(text: str) -> str:
    """Sections that both kinds of study have are listed under the first, and named under the second."""
    kept: list[str] = []
    seen: set[str] = set()
    for block in text.split("\n(schema-"):
        label = block.partition(")=")[0]
        if label not in seen:
            kept.append(block)
        seen.add(label)
    return "\n(schema-".join(kept)


def name_of(reference: Schema) -> str:
    """The section that a `$ref` leads to."""
    return str(reference["$ref"]).rpartition("/")[2]


def reachable(top: str, sections: dict[str, Schema]) -> list[str]:
    """Sections that a study may hold, from the top, each once, in the order of its keys."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            order.append(name)
            for found in _references(sections[name]):
                visit(found)

    visit(top)
    return order


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield name_of(node)
        for key, value in node.items():
            if key != "discriminator":  # it repeats the references that oneOf has
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _section(name: str, section: Schema, top: bool) -> list[str]:
    kind = section.get("properties", {}).get("kind", {}).get("const")
    title = "Top level" if top else f"{name}: `kind: {kind}`" if kind else name
    lines = [f"(schema-{name})=", f"### {title}\n", _escaped(section.get("description", "")), ""]
    if "properties" not in section:
        return [*lines, f"{type_of(section)}{ranges_of(section)}\n"]
    lines += ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    required = section.get("required", [])
    lines += [_row(key, value, key in required) for key, value in section["properties"].items()]
    return [*lines, ""]


def _row(key: str, value: Schema, required: bool) -> str:
    unknown = set(value) - KNOWN
    if unknown:
        raise ValueError(f"schema_page: {key} has {sorted(unknown)}, which the page does not know how to say")
    default = "required" if required else f"`{json.dumps(value['default'])}`" if "default" in value else "-"
    cells = [f"`{key}`", type_of(value), default, ranges_of(value), _escaped(value.get("description", ""))]
    return "| " + " | ".join(cell.replace("|", "\\|") or "-" for cell in cells) + " |"


def type_of(value: Schema) -> str:
    """In words: `whole number or list of whole numbers`; a section is a link to its table."""
    if "$ref" in value:
        return f"[{name_of(value)}](#schema-{name_of(value)})"
    for choice in ("anyOf", "oneOf"):
        if choice in value:
            return " or ".join(dict.fromkeys(type_of(one) for one in value[choice]))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return _choices(value["enum"])
    if value.get("type") == "array":
        return f"list of {type_of(value['items'])}" if "items" in value else "list"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"section of {type_of(inner)}" if isinstance(inner, dict) else "section"
    return WORDS.get(value.get("type", ""), "anything")


def ranges_of(value: Schema) -> str:
    """What is allowed beyond the type; of lists and alternatives each part says its own."""
    found = [text.format(_short(value[key])) for key, text in RANGES.items() if key in value]
    if "items" in value:
        inner = ranges_of(value["items"])
        found += [f"each {inner}"] if inner else []
    found += [part for choice in ("anyOf", "oneOf") for one in value.get(choice, []) if (part := ranges_of(one))]
    return "; ".join(dict.fromkeys(found))


def _short(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _choices(values: list[Any]) -> str:
    return " or ".join(f"`{value}`" for value in values)


def _escaped(text: str) -> str:
    for special in "\\*_[]<>$":
        text = text.replace(special, f"\\{special}")
    return text
