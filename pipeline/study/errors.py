"""A pydantic error of a study as the one line that the user reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from rnnlimits import chains
from rnnlimits.base.fields import nearest, show
from rnnlimits.study.network import LawC, LawW

_UNIONS = {"network.w": LawW, "network.c": LawC}
_ALLOWED = {
    "tuple_type": "a list",
    "too_short": "a list with at least one entry",
    "model_attributes_type": "keys and values, one of them kind",
}


def one_line(error: ValidationError, raw: object, origin: str) -> str:
    """`origin: key is found; allowed: ...` for the first error; unknown keys come before missing ones.

    A misspelt key also counts as a missing one, and the spelling is what the user can correct.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] != "missing"), errors[0])
    return f"{origin}: {_sentence(first, _key(first['loc'], raw))}"


def _sentence(error: Any, key: str) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "refused":
        full_key = ".".join(part for part in (key, context["key"]) if part) or "the study"
        return f"{full_key} {context['found']}; {context['allowed']}"
    if kind == "missing":
        return f"{key} is missing; it has no default"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _kind_sentence(error, key)
    if kind == "literal_error":
        return f"{key} is {show(error['input'])}; allowed: {context['expected'].replace(chr(39), '')}"
    allowed = context.get("allowed") or _ALLOWED.get(kind) or error["msg"]
    return f"{key} is {show(error['input'])}; allowed: {allowed}"


def _kind_sentence(error: Any, key: str) -> str:
    if error["type"] == "union_tag_not_found":
        return f"{key}.kind is missing; allowed: {', '.join(known_kinds(key))}"
    expected = error["ctx"]["expected_tags"].replace("'", "").split(", ")
    return f"{key}.kind is {show(error['ctx']['tag'])}; {nearest(error['ctx']['tag'], expected)}"


def known_kinds(key: str) -> list[str]:
    """The values that the `kind` of a section may have: registered ones for a chain, else those of a union."""
    if key == "chain":
        return chains.kinds()
    members = get_args(get_args(_UNIONS[key])[0])
    return [kind for member in members for kind in get_args(member.model_fields["kind"].annotation)]


def _key(location: Sequence[int | str], raw: object) -> str:
    """training.beta[1] from pydantic's location, without the names of union members that it contains."""
    text, node = "", raw
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
            node = node[part] if isinstance(node, Sequence) and part < len(node) else None
        elif isinstance(node, Mapping) and part not in node and node.get("kind") == part:
            continue  # the member of a union, not a key
        else:
            text += f".{part}"
            node = node.get(part) if isinstance(node, Mapping) else None
    return text.removeprefix(".")
