"""The picture of docs/architecture.md against the imports: both come from docs/architecture.toml."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache

import architecture
import pytest

TABLE = architecture.groups()
MODULES = architecture.modules()


def imports(source: str, modules: set[str]) -> set[str]:
    """Modules of ours that a source imports, anywhere in it, also for the type checker only.

    `from pipeline import flow` names the module flow; the package is meant only if something of its own file is taken.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner | (set() if inner <= modules else {str(node.module)})
    return found & modules


@cache
def crossings() -> frozenset[tuple[str, str, str, str]]:
    """Imports from one group into another: importing module, its group, imported module, its group."""
    groups = {module: str(architecture.group_of(module, TABLE)) for module in MODULES}
    return frozenset(
        (module, groups[module], other, groups[other])
        for module, path in MODULES.items()
        for other in imports(path.read_text(encoding="utf-8"), set(MODULES))
        if groups[module] != groups[other]
    )


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_in_the_picture(module: str) -> None:
    group = architecture.group_of(module, TABLE)
    assert group, f"{module}: name it in a group of docs/architecture.toml and run python docs/_ext/architecture.py"


def test_every_name_in_the_picture_is_a_module_and_stands_once() -> None:
    named = Counter(architecture.full_name(one) for group in TABLE.values() for one in group.modules)
    assert [name for name, times in named.items() if times > 1] == []
    assert [name for name in named if name.removesuffix(".*") not in MODULES] == []


def test_arrows_point_down() -> None:
    for group in TABLE.values():
        for used in group.uses:
            assert TABLE[used].layer < group.layer, f"{group.name} -> {used}"


def test_imports_follow_the_arrows() -> None:
    against = [
        f"{module} ({here}) imports {other} ({there})"
        for module, here, other, there in sorted(crossings())
        if there not in architecture.below(here, TABLE)
    ]
    assert against == []


def test_every_arrow_is_taken_by_an_import() -> None:
    taken = {(here, there) for _, here, _, there in crossings()}
    assert [(name, used) for name, group in TABLE.items() for used in group.uses if (name, used) not in taken] == []


def test_no_box_stands_on_another() -> None:
    places = Counter((group.layer, group.column) for group in TABLE.values())
    assert max(places.values()) == 1


def test_the_picture_is_the_one_of_the_table() -> None:
    drawn = architecture.PICTURE.read_text(encoding="utf-8")
    assert drawn == architecture.picture(), "run python docs/_ext/architecture.py"
    for group in TABLE.values():
        assert f">{group.title}<" in drawn


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import kernels.host\n"
        "def f():\n    from pipeline import flow\n"
        "if TYPE_CHECKING:\n    from pipeline.study import Study\n"
    )
    assert imports(source, set(MODULES)) == {"kernels.host", "pipeline.flow", "pipeline.study"}


def test_a_module_is_in_the_group_that_names_it_else_in_that_of_its_package() -> None:
    assert architecture.group_of("pipeline.study.chain", TABLE) == "study"
    assert architecture.group_of("kernels.rntk.finite", TABLE) == "rntk-kernels"
    assert architecture.group_of("kernels.host", TABLE) == "kernels"
    assert architecture.group_of("pipeline.nobody", TABLE) is None
    assert architecture.below("study", TABLE) == {"rntk-kernels", "kernels", "base"}
