"""Something public that is not documented fails here."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
DOCUMENTED_DEPENDENCIES = set(
    re.findall(r"^\| ([a-z0-9-]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
) - {"package", "---"}


def direct_dependencies() -> set[str]:
    lines = [
        line for name in ("requirements.in", "requirements-dev.in") for line in (ROOT / name).read_text().splitlines()
    ]
    return {re.split(r"[\[=<>~ ]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}


def test_every_dependency_says_why_it_is_here() -> None:
    assert direct_dependencies() == DOCUMENTED_DEPENDENCIES


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_exactly(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", " "))]
    assert lines
    assert [line for line in lines if not re.match(r"^[a-z0-9.-]+(\[[a-z0-9,-]+\])?==[^ ]+( ;.*)?$", line)] == []


def test_every_variable_that_settings_read_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    settings = (ROOT / "glyphforge" / "settings.py").read_text()
    names = set(re.findall(r'env\.[a-z_]+\(\s*"([A-Z_]+)"', settings))
    assert {"DATABASE_URL", "STRIPE_WEBHOOK_SECRET"} <= names
    assert {name for name in names if f"{name}=" not in example} == set()


def test_every_secret_of_the_environment_has_its_rotation_described() -> None:
    variables = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    secret = [
        name for name in variables if re.search(r"SECRET|TOKEN|PASSWORD|DSN$|WEBHOOK_URL|EMAIL_URL|DATABASE.*URL", name)
    ]
    rotation = (ROOT / "docs" / "rotate-secrets.md").read_text()
    assert len(secret) > 8
    assert [name for name in secret if f"`{name}`" not in rotation] == []


def test_every_picture_shown_is_drawn_and_every_picture_drawn_is_shown() -> None:
    texts = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    shown = {name for text in texts for name in re.findall(r"screenshots/([a-z-]+)\.png", text)}
    drawn = re.findall(r'\("([a-z-]+)", (?:f?"/|page_of)', (ROOT / "tests" / "e2e" / "screenshots.py").read_text())
    assert len(drawn) > 8
    assert shown == set(drawn)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    local = [(page, *link.partition("#")[::2]) for page, link in links if "://" not in link]
    assert len(local) > 20
    dead = []
    for page, path, anchor in local:
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{page.name}: {path}#{anchor}")
    assert dead == []


def test_every_command_named_is_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"manage\.py ([a-z_]+)", page.read_text())}
    assert {"migrate", "worker"} <= named
    assert named - set(get_commands()) == set()


def test_diagram_in_the_docs_is_the_schema_as_it_is() -> None:
    from glyphforge.database.diagram import entity_relationship_diagram

    assert entity_relationship_diagram() in (ROOT / "docs" / "schema.md").read_text()
