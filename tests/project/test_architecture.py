"""The order of packages in docs/architecture.toml against the imports, and the picture that is drawn from both."""

from __future__ import annotations

import architecture

MODULES = architecture.modules()
ORDER = architecture.order()


def test_the_order_stands_in_one_line_and_names_every_package_once() -> None:
    lines = [line for line in architecture.TABLE.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
    assert [line.partition(" = ")[0] for line in lines] == ["order"]
    packages = {path.parent.name for path in (architecture.ROOT / "pipeline").glob("*/__init__.py")}
    assert sorted(ORDER) == sorted({*packages, "kernels"})


def test_imports_lead_to_earlier_packages() -> None:
    """So there are no circles either."""
    against = [
        f"{module} imports {other}"
        for module, here, other, there in sorted(architecture.crossings())
        if ORDER.index(there) > ORDER.index(here)
    ]
    assert against == []


def test_no_package_imports_the_public_names() -> None:
    """rnnlimits/__init__.py is for users: only its version is read from within."""
    importers = {
        module for module, path in MODULES.items() if "rnnlimits" in architecture.imports(path.read_text(), MODULES)
    }
    assert importers == {"rnnlimits.files.provenance", "rnnlimits.report.page", "rnnlimits.cli.page"}


def test_modules_lie_two_levels_deep_at_most() -> None:
    deep = {module for module in MODULES if module.removeprefix("rnnlimits.kernels").count(".") > 2}
    assert deep == set()


def test_the_page_lists_the_packages_in_their_order() -> None:
    page = (architecture.DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = [f"| `{group.name}` | {group.about}. |" for group in architecture.groups().values()]
    assert "\n".join(rows) in page


def test_the_picture_is_the_one_of_the_imports() -> None:
    drawn = architecture.PICTURE.read_text(encoding="utf-8")
    assert drawn == architecture.picture(), "run python docs/_ext/architecture.py"
    for package in ORDER:
        assert f">{package}<" in drawn


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import rnnlimits.kernels.host\n"
        "def f():\n    from rnnlimits.theory import flow\n"
        "if TYPE_CHECKING:\n    from rnnlimits.study import Study\n"
    )
    found = architecture.imports(source, MODULES)
    assert found == {"rnnlimits.kernels.host", "rnnlimits.theory.flow", "rnnlimits.study"}


def test_a_module_belongs_to_the_folder_that_it_lies_in() -> None:
    assert architecture.group_of("rnnlimits.study") == "study"
    assert architecture.group_of("rnnlimits.kernels.rntk.finite") == "kernels"
    assert architecture.group_of("rnnlimits.__main__") == ""
    assert architecture.group_of("rnnlimits") == ""
