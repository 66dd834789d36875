"""The rules of CONTRIBUTING.md that a machine can hold, beside those on imports, which `.importlinter` holds."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver
from django.views.generic import RedirectView

from glyphforge.database import freeze

ROOT = Path(__file__).resolve().parent.parent
TENANTS = ("billing", "monitoring", "demo")
PRODUCT = ("glyphforge", *TENANTS)
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
LONGEST_FILE = 400
# What stands outside the rooms of its folder. The last line of glyphforge's is the kit's.
FLAT = {
    "glyphforge": "__init__ apps settings environment urls wsgi navigation roles replica checks"
    " money errors rows text choices processes",
    "billing": "__init__ apps urls views tasks customer_panels",
    "monitoring": "__init__ apps urls probes metrics",
    "demo": "__init__ apps",
}
KIT_FILES = ("money", "errors", "rows", "text", "choices", "processes")
# Comments say whom something is for; they bind nothing.
COMMENTS = {
    ".sql": r"--[^\n]*",
    ".html": r"\{#.*?#\}|\{% comment.*?endcomment %\}|<!--.*?-->",
    ".css": r"/\*.*?\*/",
    ".js": r"/\*.*?\*/|//[^\n]*",
}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", python_files(*PRODUCT, "tests", "benchmarks"), ids=name_of)
def test_file_has_one_noun_and_fits(path: Path) -> None:
    assert path.stem not in VAGUE, "name the file after what it holds"
    if not {"migrations", "mirror_migrations"} & set(path.parts):
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, "two files"


@pytest.mark.parametrize("folder", FLAT)
def test_every_file_stands_in_a_room(folder: str) -> None:
    assert {path.stem for path in (ROOT / folder).glob("*.py")} - set(FLAT[folder].split()) == set()


def test_the_projects_urls_only_include() -> None:
    for entry in get_resolver("glyphforge.urls").url_patterns:
        if isinstance(entry, URLPattern):
            assert getattr(entry.callback, "view_class", None) is RedirectView, entry
        else:
            assert isinstance(entry, URLResolver), entry
    assert [name for name in imports(ROOT / "glyphforge" / "urls.py") if not name.startswith("django.")] == []


# --- The kit is told what it needs -----------------------------------------------------------------


def kit_files() -> list[Path]:
    rooms = [path for path in (ROOT / "glyphforge").glob("*/**/*") if path.suffix in {".py", *COMMENTS}]
    return sorted([*rooms, *((ROOT / "glyphforge" / name).with_suffix(".py") for name in KIT_FILES)])


def names_of_tenants() -> set[str]:
    """Of each app: its own, which begins those of its pages, and its tables, SQL objects and permissions."""
    names = set(TENANTS)
    for label in TENANTS:
        config = apps.get_app_config(label)
        # Triggers are named by their table, which may be a package's.
        names |= {each.name for each in freeze.definitions(config) if each.kind != "triggers"}
        for model in config.get_models():
            options = model._meta
            names |= {options.db_table, *(codename for codename, _ in options.permissions)}
            names |= {f"{action}_{options.model_name}" for action in options.default_permissions}
    return names


def said(path: Path) -> Iterator[str]:
    """The texts of a file that do something: its strings without docstrings, or its lines without comments."""
    if path.suffix != ".py":
        yield from re.sub(COMMENTS[path.suffix], "", path.read_text(), flags=re.DOTALL).splitlines()
        return
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and _is_said(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def _is_said(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def test_the_kit_names_nothing_of_its_tenants() -> None:
    """No table, page or permission of theirs in a string, SQL, a template or CSS: AppConfig or settings name it."""
    named = re.compile(rf"(?<![a-zA-Z0-9_-])({'|'.join(names_of_tenants())})(?![a-zA-Z0-9])")
    assert [
        f"{name_of(path)}: {text.strip()}" for path in kit_files() for text in said(path) if named.search(text)
    ] == []


# --- The tests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", python_files("tests", "benchmarks"), ids=name_of)
def test_helpers_are_in_support(path: Path) -> None:
    shared = {name for name in imports(path) if name.startswith(("tests.", "."))}
    assert {name for name in shared if not name.startswith("tests.support.")} == set()


@pytest.mark.parametrize("path", [path for path in python_files("tests") if path.name == "conftest.py"], ids=name_of)
def test_conftest_holds_fixtures_only(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            assert node.name.startswith("pytest_") or "pytest.fixture" in map(called, node.decorator_list), node.name


def called(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
