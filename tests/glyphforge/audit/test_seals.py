"""Nobody changes, removes, adds, moves or back-dates an audit row unseen, the owner of the database included."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glyphforge.audit import record, seals
from glyphforge.audit.seals import Finding
from tests.support.sql import ago, insert, run, scalar

pytestmark = pytest.mark.django_db


def note(**values: Any) -> int:
    return record("note", table_name="users", new_values=values)


def seal() -> int:
    return int(scalar("SELECT seal_audit_log()"))


@pytest.fixture
def rows() -> list[int]:
    """Three seals of two rows each, after one of all that the migrations wrote."""
    seal()
    found = []
    for number in range(3):
        found += [note(n=number), note(n=number)]
        assert seal() == 2
    assert seals.verify() is None
    return found


@pytest.fixture
def as_superuser() -> Callable[[str], None]:
    """Runs a statement with all triggers off, as whoever owns the server can."""

    def forge(statement: str, *parameters: Any) -> None:
        run("SET LOCAL session_replication_role = replica")
        run(statement, *parameters)
        run("SET LOCAL session_replication_role = origin")

    return forge


def test_what_is_sealed_is_sealed_once(rows: list[int]) -> None:
    assert seal() == 0
    assert scalar("SELECT sum(rows) FROM audit_seals") == scalar("SELECT count(*) FROM audit_log")


def test_few_rows_at_a_call_leave_no_gap() -> None:
    seal()
    for number in range(5):
        note(n=number)
    assert [int(scalar("SELECT seal_audit_log(2)")) for _ in range(4)] == [2, 2, 1, 0]
    assert seals.verify() is None


FORGERIES = {
    "changed": "UPDATE audit_log SET reason = 'nothing happened' WHERE id = {0}",
    "changed by whom": "UPDATE audit_log SET actor_kind = 'system' WHERE id = {0}",
    "removed": "DELETE FROM audit_log WHERE id = {0}",
    "moved": "UPDATE audit_log SET id = 9000000000 WHERE id = {0}",
    "dated anew": "UPDATE audit_log SET occurred_at = occurred_at - interval '3 hours' WHERE id = {0}",
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("position", [0, 3, 5])
def test_forged_row_is_named(forgery: str, position: int, rows: list[int], as_superuser: Callable[[str], None]) -> None:
    as_superuser(FORGERIES[forgery].format(rows[position]))
    assert seals.verify() == Finding(rows[position], forgery.removesuffix(" by whom"))


def test_the_first_of_several_is_named(rows: list[int], as_superuser: Callable[[str], None]) -> None:
    as_superuser(FORGERIES["changed"].format(rows[4]))
    as_superuser(FORGERIES["removed"].format(rows[1]))
    assert seals.verify() == Finding(rows[1], "removed")


def test_added_row_is_named(rows: list[int], as_superuser: Callable[..., None]) -> None:
    run("SELECT nextval('audit_log_id_seq')")
    gap = note() - 1
    seal()
    as_superuser("INSERT INTO audit_log (id, action, table_name) VALUES (%s, 'note', 'users')", gap)
    assert seals.verify() == Finding(gap, "added")


def test_second_row_of_an_id_is_named(rows: list[int], as_superuser: Callable[..., None]) -> None:
    as_superuser(
        "INSERT INTO audit_log (id, occurred_at, action, table_name)"
        " VALUES (%s, now() - interval '1 hour', 'note', 'users')",
        rows[2],
    )
    assert seals.verify() == Finding(rows[2], "added")


def test_row_above_the_last_id_is_named(rows: list[int]) -> None:
    insert("audit_log", id=9_000_000_000, action="note", table_name="users")
    assert seals.verify() == Finding(9_000_000_000, "added")


@pytest.mark.parametrize("is_sealed", [False, True])
def test_row_that_is_written_with_an_old_date_is_named(rows: list[int], is_sealed: bool) -> None:
    insert("audit_log", action="note", table_name="users", occurred_at=ago("9 days"))
    if is_sealed:
        seal()
    assert seals.verify() == Finding(rows[-1] + 1, "back-dated")


@pytest.mark.parametrize(
    ("forgery", "position"),
    [
        ("UPDATE audit_seals SET row_digests[1] = sha256('x') WHERE to_id = {0}", 3),
        ("UPDATE audit_seals SET sealed_at = now() - interval '1 hour' WHERE to_id = {0}", 3),
        ("DELETE FROM audit_seals WHERE to_id = {0}", 5),
    ],
)
def test_forged_seal_is_named(
    forgery: str, position: int, rows: list[int], as_superuser: Callable[[str], None]
) -> None:
    as_superuser(forgery.format(rows[3]))
    found = seals.verify()
    assert found is not None
    assert (found.id, found.is_seal) == (rows[position], True)


def test_log_that_was_sealed_anew_fits_no_anchor(rows: list[int], as_superuser: Callable[..., None]) -> None:
    kept = seals.anchor()
    assert kept
    as_superuser("UPDATE audit_log SET reason = 'x' WHERE id = %s", rows[0])
    as_superuser("DELETE FROM audit_seals")
    seal()
    assert seals.verify() is None
    found = seals.verify(anchors=[kept])
    assert found is not None
    assert (found.id, found.is_seal) == (kept.to_id, True)


def test_seals_last_beyond_retention(rows: list[int], as_superuser: Callable[..., None]) -> None:
    as_superuser("UPDATE audit_log SET occurred_at = now() - interval '2 days' WHERE id <= %s", rows[2])
    as_superuser("DELETE FROM audit_seals")
    seal()
    kept = seals.anchor()
    assert kept
    assert scalar("SELECT cleanup_audit_log(1)") >= 3
    assert seals.verify(anchors=[kept]) is None
    seal()
    as_superuser("DELETE FROM audit_log WHERE id = %s", rows[3])
    assert seals.verify() == Finding(rows[3], "removed")


def test_seals_last_when_a_month_gets_its_partition() -> None:
    seal()
    insert("audit_log", action="note", table_name="users", occurred_at=ago("-200 days"))
    seal()
    run("SELECT * FROM create_monthly_partitions('audit_log', 0, 6)")
    assert scalar("SELECT count(*) FROM audit_log_default") == 0
    assert seals.verify() is None


def test_digest_knows_no_settings(rows: list[int]) -> None:
    digests = "SELECT array_agg(digest ORDER BY id) FROM audit_digests(1, 1000000)"
    before = scalar(digests)
    for setting in ("timezone = 'Pacific/Kiritimati'", "datestyle = 'SQL, DMY'", "extra_float_digits = -3",
                    "intervalstyle = 'sql_standard'", "bytea_output = 'escape'"):  # fmt: skip
        run(f"SET LOCAL {setting}")
    assert scalar(digests) == before


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_seals SET rows = 0", "DELETE FROM audit_seals", "TRUNCATE audit_seals"]
)
def test_seals_refuse_change(rows: list[int], statement: str) -> None:
    with pytest.raises(DatabaseError, match="seals are append-only"), transaction.atomic():
        run(statement)


ACTS = st.lists(
    st.one_of(st.just("write"), st.just("write and undo"), st.just("seal"), st.just("few")), min_size=4, max_size=12
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS, forgery=st.sampled_from(sorted(FORGERIES)), which=st.integers(0, 99))
def test_whatever_was_written_and_sealed_when_the_forged_row_is_named(
    as_superuser: Callable[..., None], acts: list[str], forgery: str, which: int
) -> None:
    story = transaction.savepoint()
    try:
        seal()
        written = [note(n=0)]
        for number, act in enumerate(acts, start=1):
            if act == "write":
                written.append(note(n=number))
            elif act == "write and undo":
                undone = transaction.savepoint()
                note(n=number)
                transaction.savepoint_rollback(undone)
            else:
                run(f"SELECT seal_audit_log({100 if act == 'seal' else 1})")
        seal()
        assert seals.verify() is None
        row = written[which % len(written)]
        as_superuser(FORGERIES[forgery].format(row))
        assert seals.verify() == Finding(row, forgery.removesuffix(" by whom"))
    finally:
        transaction.savepoint_rollback(story)


class TestCommand:
    def answer(self, *arguments: str) -> str:
        out = StringIO()
        call_command("audit", *arguments, stdout=out)
        return out.getvalue()

    def test_whole_log_is_said_to_be(self, rows: list[int], tmp_path: Path) -> None:
        kept = tmp_path / "mail.txt"
        kept.write_text(f"Sealed: {self.answer('anchor')}, yesterday.")
        assert f"up to row {rows[-1]}, 1 anchors fit" in self.answer("verify", "--anchors", str(kept))

    def test_forged_row_is_an_error(self, rows: list[int], as_superuser: Callable[[str], None]) -> None:
        as_superuser(FORGERIES["changed"].format(rows[2]))
        with pytest.raises(CommandError, match=f"First, row {rows[2]}: changed"):
            self.answer("verify")
        assert "as it was sealed" in self.answer("verify", "--since", "9999-01-01")

    def test_wrong_argument_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="'yesterday' is no day, such as 2026-01-31"):
            self.answer("verify", "--since", "yesterday")
        (tmp_path / "empty").touch()
        with pytest.raises(CommandError, match="empty holds no anchor"):
            self.answer("verify", "--anchors", str(tmp_path / "empty"))
