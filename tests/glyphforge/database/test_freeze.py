"""Frozen pairs are written from the definitions, and never changed once they are written."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from glyphforge.database import freeze
from glyphforge.database.connection import DatabaseError
from tests.support import database, processes

ROOT = Path(settings.BASE_DIR)
PAIRS = sorted(ROOT.glob("**/sql/migrations/*.sql"), key=str)
PAIRS = [path for path in PAIRS if ".venv" not in path.parts]
VIEW = "CREATE VIEW v_shelf AS\nSELECT 1 AS books;\n"
FUNCTION = "CREATE FUNCTION shelve(book int) RETURNS int\nLANGUAGE sql\nAS $$ SELECT book $$;\n"
TABLE = "CREATE TABLE shelves (id int);\n\nINSERT INTO shelves (id) VALUES (1);\n"
TRIGGER = "CREATE TRIGGER dust BEFORE UPDATE OF id ON shelves\nFOR EACH ROW EXECUTE FUNCTION dust();\n"


@pytest.mark.parametrize("folder", sorted({path.parent for path in PAIRS}), ids=lambda path: path.parts[-3])
def test_frozen_files_are_as_they_were_written(folder: Path) -> None:
    listed = dict(reversed(line.split()) for line in (folder / freeze.CHECKSUMS).read_text().splitlines())
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.sql")} == listed


@pytest.mark.parametrize(
    "label", [config.label for config in apps.get_app_configs() if any(freeze.definitions(config))]
)
def test_every_definition_is_what_the_last_pair_made(label: str) -> None:
    config = apps.get_app_config(label)
    defined = {str(each): each.text.strip() for each in freeze.definitions(config)}
    assert {name: text.strip() for name, text in freeze.frozen(config).items()} == defined


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """An app of its own; called with an object and its definition, it writes that file."""
    package = tmp_path / "library"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "library"]:
        monkeypatch.delitem(sys.modules, name)  # of the test before

    def define(name: str, text: str) -> None:
        path = package / "sql" / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    # Not by INSTALLED_APPS: every app would become ready again, and the admin get another site.
    config = AppConfig.create("library")
    config.apps = apps
    config.import_models()
    monkeypatch.setitem(apps.app_configs, "library", config)
    apps.clear_cache()
    yield define
    monkeypatch.undo()
    apps.clear_cache()


def pair(tmp_path: Path, name: str) -> tuple[str, str]:
    folder = tmp_path / "library" / "sql" / "migrations"
    up, down = ((folder / f"{name}.{way}.sql").read_text() for way in ("up", "down"))
    return up, down


def test_new_objects_are_made_in_the_order_of_their_needs(library: Callable[[str, str], None], tmp_path: Path) -> None:
    library("views/v_all", "CREATE VIEW v_all AS\nSELECT * FROM v_shelf;\n")
    library("views/v_shelf", "CREATE VIEW v_shelf AS\nSELECT id AS books FROM shelves;\n")
    library("tables/shelves", TABLE)
    library("triggers/shelves", TRIGGER)
    library("functions/dust", "CREATE FUNCTION dust() RETURNS trigger\nLANGUAGE plpgsql\nAS $$ BEGIN END $$;\n")
    freeze.freeze("library", "0001_shelves")
    up, down = pair(tmp_path, "0001_shelves")
    made = ["tables/shelves", "functions/dust", "views/v_shelf", "views/v_all", "triggers/shelves"]
    assert [match["name"] for match in freeze.MARK.finditer(up)] == made
    dropped = [line for line in down.splitlines() if line.startswith("DROP")]
    assert dropped == [
        "DROP VIEW v_all;",
        "DROP VIEW v_shelf;",
        "DROP TRIGGER dust ON shelves;",
        "DROP TABLE shelves;",
        "DROP FUNCTION dust;",
    ]
    assert "RunSQLFile" in (tmp_path / "library" / "migrations" / "0001_shelves.py").read_text()


@pytest.mark.parametrize(
    ("name", "versions", "written"),
    [
        pytest.param(
            "views/v_shelf",
            (VIEW, VIEW.replace("1 AS books", "2 AS books")),
            ("CREATE OR REPLACE VIEW v_shelf AS\nSELECT 2", "DROP VIEW v_shelf;\n\nCREATE VIEW v_shelf AS\nSELECT 1"),
            id="view",
        ),
        pytest.param(
            "functions/shelve",
            (FUNCTION, FUNCTION.replace("SELECT book", "SELECT book + 1")),
            (
                "CREATE OR REPLACE FUNCTION shelve(book int) RETURNS int\nLANGUAGE sql\nAS $$ SELECT book + 1",
                "CREATE OR REPLACE FUNCTION shelve(book int) RETURNS int\nLANGUAGE sql\nAS $$ SELECT book $$",
            ),
            id="function",
        ),
        pytest.param(
            "functions/shelve",
            (FUNCTION, FUNCTION.replace("book int", "book bigint")),
            (
                "DROP FUNCTION shelve;\n\nCREATE FUNCTION shelve(book bigint)",
                "DROP FUNCTION shelve;\n\nCREATE FUNCTION shelve(book int)",
            ),
            id="function of another signature",
        ),
        pytest.param(
            "triggers/shelves",
            (TRIGGER, TRIGGER.replace("dust BEFORE", "wipe BEFORE")),
            (
                "DROP TRIGGER dust ON shelves;\nCREATE OR REPLACE TRIGGER wipe",
                "DROP TRIGGER wipe ON shelves;\nCREATE OR REPLACE TRIGGER dust",
            ),
            id="trigger",
        ),
    ],
)
def test_changed_object_is_replaced_and_put_back(
    library: Callable[[str, str], None],
    tmp_path: Path,
    name: str,
    versions: tuple[str, str],
    written: tuple[str, str],
) -> None:
    before, after = versions
    library(name, before)
    freeze.freeze("library", "0001_shelves")
    library(name, after)
    freeze.freeze("library", "0002_better", [name])
    for part, text in zip(written, pair(tmp_path, "0002_better"), strict=True):
        assert part in text
    assert freeze.frozen(apps.get_app_config("library")) == {name: after}


def test_table_is_altered_by_what_changed_in_its_file(library: Callable[[str, str], None], tmp_path: Path) -> None:
    grown = TABLE.replace("id int", "id int, -- of the room\n    label text DEFAULT 'a, b; c'")
    for number, text in enumerate((TABLE, grown, grown.replace("VALUES (1)", "VALUES (1), (2)")), start=1):
        library("tables/shelves", text)
        freeze.freeze("library", f"000{number}_shelves")
        assert freeze.frozen(apps.get_app_config("library")) == {"tables/shelves": text}
    up, down = pair(tmp_path, "0002_shelves")
    assert "\nALTER TABLE shelves ADD COLUMN label text DEFAULT 'a, b; c';\n" in up
    assert "\nALTER TABLE shelves DROP COLUMN label;\n" in down
    up, down = pair(tmp_path, "0003_shelves")
    assert "\nINSERT INTO shelves (id) VALUES (2);\n" in up
    assert "\nDELETE FROM shelves WHERE id = 2;\n" in down


def test_trigger_is_away_while_its_table_is_altered(library: Callable[[str, str], None], tmp_path: Path) -> None:
    library("tables/shelves", TABLE)
    library("triggers/shelves", TRIGGER)
    freeze.freeze("library", "0001_shelves")
    library("tables/shelves", TABLE.replace("id int", "id int, label text"))
    library("triggers/shelves", TRIGGER.replace("OF id", "OF id, label"))
    freeze.freeze("library", "0002_label")
    for text, column in zip(pair(tmp_path, "0002_label"), ("ADD COLUMN label", "DROP COLUMN label"), strict=True):
        order = ["DROP TRIGGER dust ON shelves;", column, "CREATE TRIGGER dust"]
        assert sorted(order, key=text.index) == order


def test_trigger_is_away_while_a_column_of_its_table_changes_its_type(
    library: Callable[[str, str], None], tmp_path: Path
) -> None:
    library("tables/shelves", TABLE)
    library("triggers/shelves", TRIGGER)
    freeze.freeze("library", "0001_shelves")
    library("tables/shelves", TABLE.replace("id int", "id bigint"))
    freeze.freeze("library", "0002_wider")
    for text in pair(tmp_path, "0002_wider"):
        order = ["DROP TRIGGER dust ON shelves;", "ALTER COLUMN id TYPE", "CREATE TRIGGER dust"]
        assert sorted(order, key=text.index) == order


def test_object_whose_file_is_gone_is_dropped_and_put_back(library: Callable[[str, str], None], tmp_path: Path) -> None:
    library("views/v_shelf", VIEW)
    library("views/v_all", "CREATE VIEW v_all AS\nSELECT * FROM v_shelf;\n")
    library("functions/shelve", FUNCTION)
    library("views/v_apart", "CREATE VIEW v_apart AS\nSELECT 1 AS one;\n")
    freeze.freeze("library", "0001_shelves")
    library("views/v_apart", "CREATE VIEW v_apart AS\nSELECT 2 AS one;\n")
    (tmp_path / "library" / "sql" / "views" / "v_shelf.sql").unlink()
    (tmp_path / "library" / "sql" / "functions" / "shelve.sql").unlink()
    library("views/v_all", "CREATE VIEW v_all AS\nSELECT 1 AS books;\n")
    freeze.freeze("library", "0002_fewer")
    up, down = pair(tmp_path, "0002_fewer")
    order = ["DROP VIEW v_all;", "DROP VIEW v_shelf;", "CREATE VIEW v_all", "DROP FUNCTION shelve;"]
    assert sorted(order, key=up.index) == order
    assert down.index("CREATE VIEW v_shelf") < down.index("CREATE VIEW v_all")
    assert "CREATE FUNCTION shelve" in down
    assert "CREATE OR REPLACE VIEW v_apart" in up  # which was not away
    assert sorted(freeze.frozen(apps.get_app_config("library"))) == ["views/v_all", "views/v_apart"]


def test_refusals_name_what_is_wrong_and_write_nothing(library: Callable[[str, str], None], tmp_path: Path) -> None:
    library("tables/shelves", TABLE)
    freeze.freeze("library", "0001_shelves")
    before = sorted(tmp_path.rglob("*.*"))
    with pytest.raises(DatabaseError, match="nothing to freeze"):
        freeze.freeze("library", "0002_same")
    library("tables/shelves", TABLE.replace("(id int)", "(id int) WITH (fillfactor = 70)"))
    for name, objects, problem in (
        ("second", [], "'second' is no name of a migration"),
        ("0001_shelves", [], "0001_shelves.up.sql exists already"),
        ("0002_views", ["views/v_none"], "views/v_none: library defines no such object"),
        ("0002_fuller", [], "tables/shelves: its name, a constraint without one or what follows its columns cannot"),
    ):
        with pytest.raises(DatabaseError, match=problem):
            freeze.freeze("library", name, objects)
    with pytest.raises(CommandError, match="there is no app nowhere"):
        call_command("database", "freeze", "nowhere", "0001_x")
    assert sorted(tmp_path.rglob("*.*")) == before


def test_what_fails_half_way_leaves_nothing(
    library: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents() -> dict[Path, bytes | None]:
        found = [path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts]
        return {path: path.read_bytes() if path.is_file() else None for path in found}

    library("views/v_shelf", VIEW)
    for number in (1, 2):  # without any pair, and beside one
        before = contents()
        with monkeypatch.context() as patched:
            patched.setattr(freeze, "_migration", lambda config, name: sys.exit(3))
            with pytest.raises(SystemExit):
                freeze.freeze("library", f"000{number}_shelves")
        assert contents() == before
        freeze.freeze("library", f"000{number}_shelves")
        library("views/v_shelf", VIEW.replace("1 AS books", "2 AS books"))


# In a process of its own, as the modules of the project are a copy's there.
CHANGE_A_VIEW = """
import contextlib, importlib, io, json
import django
django.setup()
from django.core.management import call_command
from django.db import connection

def columns():
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM v_user_growth")
        return [column.name for column in cursor.description]

before = columns()
call_command("database", "freeze", "monitoring", "0002_growth", "views/v_user_growth")
importlib.invalidate_caches()
call_command("migrate", verbosity=0)
changed = columns()
with contextlib.redirect_stdout(io.StringIO()) as said:
    call_command("database", "verify", "--json")
call_command("migrate", "monitoring", "0001", verbosity=0)
found = {"before": before, "changed": changed, "drift": json.loads(said.getvalue())["differences"], "after": columns()}
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("db")
def test_a_view_is_changed_by_one_file_and_one_command(tmp_path: Path) -> None:
    for folder in ("glyphforge", "billing", "monitoring"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    view = tmp_path / "monitoring" / "sql" / "views" / "v_user_growth.sql"
    view.write_text(view.read_text().replace(" AS growth_percent", " AS growth_percent,\n    1 AS added"))
    name = f"{connection.settings_dict['NAME']}_freeze"
    with database.copy(name):
        done = processes.finished("-c", CHANGE_A_VIEW, folder=tmp_path, DATABASE_URL=database.url(name))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["changed"] == [*found["before"], "added"]
    assert found["drift"] == []
    assert found["after"] == found["before"]
