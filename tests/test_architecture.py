"""The rules of CONTRIBUTING.md that a machine can hold."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("glyphforge", "billing", "monitoring")
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
LONGEST_FILE = 400


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of(package: str, *folders: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in python_files(*folders)
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }


def test_billing_never_imports_monitoring() -> None:
    assert importers_of("monitoring", "billing") == set()


def test_one_module_imports_stripe() -> None:
    assert importers_of("stripe", *PRODUCT) <= {"billing/stripe/gateway.py"}


def test_one_package_imports_djstripe() -> None:
    assert {path for path in importers_of("djstripe", *PRODUCT) if not path.startswith("billing/stripe/")} == set()


def test_models_know_nothing_of_the_layers_above() -> None:
    above = {"services", "admin", "views", "tasks", "management", "stripe"}
    offenders = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("billing/models")
        for name in imports(path)
        if name.startswith("billing.") and name.split(".")[1] in above
    }
    assert offenders == set()


def test_services_know_nothing_of_the_admin() -> None:
    assert importers_of("billing.admin", "billing/services", "billing/stripe") == set()


@pytest.mark.parametrize("path", python_files(*PRODUCT, "tests"), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_has_one_noun_and_fits(path: Path) -> None:
    assert path.stem not in VAGUE, "name the file after what it holds"
    if "migrations" not in path.parts:
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, "two files"


def test_the_tree_names_no_machine_and_no_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    words = ["/" + "work/", "/" + "root/", "pypi" + ".org", "files.python" + "hosted", "registry.npm" + "js"]
    found = {
        f"{name}: {word}"
        for name in listed
        if name and Path(name).suffix not in {".png", ".json", ".gz"} and (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_text(errors="replace")
    }
    assert found == set()
