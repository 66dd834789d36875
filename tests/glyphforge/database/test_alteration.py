"""A table that is altered is the table that its new definition makes."""

import re
from typing import Any

import pytest
from django.db import connection

from glyphforge.database import validation
from glyphforge.database.alteration import alter
from glyphforge.database.connection import DatabaseError

SHELVES = """-- Where books stand; a shelf (of wood) has a label.
CREATE TABLE shelves (
    id int CONSTRAINT shelves_pkey PRIMARY KEY,
    label text NOT NULL DEFAULT 'none; yet',
    width numeric(5, 2),
    CONSTRAINT shelves_label_short CHECK (length(label) < 20), -- it has to be read
    CONSTRAINT shelves_width_positive CHECK (width > 0)
)
WITH (fillfactor = 70);

CREATE UNIQUE INDEX shelves_label ON shelves (label);
CREATE INDEX shelves_width ON shelves (width) WHERE width IS NOT NULL;

INSERT INTO shelves (id, label, width)
VALUES
(1, 'poetry, mostly', 80),
(2, 'it''s (all) prose', NULL);
"""
CHANGES = {
    "column comes": ("width numeric(5, 2),", "width numeric(5, 2),\n    room text NOT NULL DEFAULT 'hall',"),
    "column goes": ("    width numeric(5, 2),", ""),
    "type": ("id int ", "id bigint "),
    "precision": ("numeric(5, 2)", "numeric(8, 3)"),
    "default comes": ("width numeric(5, 2)", "width numeric(5, 2) DEFAULT 60"),
    "default changes": ("'none; yet'", "'not -- yet'"),
    "null": ("label text NOT NULL", "label text"),
    "constraint comes": (
        "CONSTRAINT shelves_width",
        "CONSTRAINT shelves_id CHECK (id > 0),\n    CONSTRAINT shelves_width",
    ),
    "constraint changes": ("length(label) < 20", "length(label) < 30"),
    "constraint of a column comes": ("width numeric(5, 2)", "width numeric(5, 2) CONSTRAINT wide CHECK (width > 1)"),
    "constraint of a column with a list": (
        "label text NOT NULL",
        "label text CONSTRAINT label_known CHECK (label IN ('poetry, mostly', 'it''s (all) prose')) NOT NULL",
    ),
    "reference comes": (
        "width numeric(5, 2)",
        "width numeric(5, 2), next int CONSTRAINT after REFERENCES shelves (id)",
    ),
    "index changes": ("shelves (label)", "shelves (lower(label))"),
    "index goes": ("CREATE UNIQUE INDEX shelves_label ON shelves (label);", ""),
    "row comes": ("'it''s (all) prose', NULL)", "'it''s (all) prose', NULL),\n(3, '', 1)"),
    "row changes": ("'poetry, mostly', 80", "'poetry, mostly', 90"),
    "row goes": ("(1, 'poetry, mostly', 80),\n", ""),
    "comment": ("it has to be read", "so that it can be read"),
}


def changed(change: str) -> str:
    old, new = CHANGES[change]
    assert old in SHELVES
    text = SHELVES.replace(old, new)
    if change == "column goes":
        text = re.sub(r",[^,]*\n    CONSTRAINT shelves_width.*\n|CREATE INDEX.*\n", "\n", text)
        text = text.replace(", width)", ")").replace(", 80)", ")").replace(", NULL)", ")")
    return text


def described() -> dict[str, list[Any]]:
    """What the catalogue knows of the table, but for the order of its columns, and its rows."""
    questions = {
        "columns": "SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = 'shelves'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1",
        "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'shelves'::regclass ORDER BY 1",
        "indexes": "SELECT indexdef FROM pg_indexes WHERE tablename = 'shelves' ORDER BY 1",
        "rows": "SELECT to_jsonb(shelves) FROM shelves ORDER BY id",
    }
    found = {}
    assert validation.validate() == []
    with connection.cursor() as cursor:
        for name, question in questions.items():
            cursor.execute(question)
            found[name] = cursor.fetchall()
        cursor.execute("DROP TABLE shelves")
    return found


def run(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)


@pytest.mark.django_db
@pytest.mark.parametrize("change", CHANGES)
def test_altered_table_is_as_its_new_file_says_and_as_before_when_put_back(change: str) -> None:
    before, after = SHELVES, changed(change)
    run(after)
    wanted = described()
    run(before)
    as_it_was = described()
    run(before)
    run(alter(before, after) or "SELECT")
    assert described() == wanted
    run(after)
    run(alter(after, before) or "SELECT")
    assert described() == as_it_was


def test_row_that_stays_keeps_what_was_not_changed() -> None:
    assert alter(SHELVES, changed("row changes")) == "UPDATE shelves SET width = 90 WHERE id = 1;\n"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("fillfactor = 70", "fillfactor = 80", "what follows its columns"),
        ("TABLE shelves", "TABLE boards", "its name"),
        ("CREATE TABLE shelves", "CREATE UNLOGGED TABLE shelves", "its name"),
        ("    CONSTRAINT shelves_width_positive CHECK", "    CHECK", "a constraint without one"),
        ("width numeric(5, 2)", "breadth numeric(5, 2)", "width would go and breadth come empty"),
        ("INSERT INTO", "CREATE TABLE more (id int);\nINSERT INTO", "what follows its columns"),
        ("width numeric(5, 2)", "width numeric(5, 2) REFERENCES widths", "'REFERENCES widths' of the column width"),
        ("CREATE TABLE shelves", "CREATE SEQUENCE shelves", "a file of sql/tables defines a table"),
    ],
)
def test_what_no_statement_makes_is_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(DatabaseError, match=problem):
        alter(SHELVES, SHELVES.replace(old, new, 1))
