"""The pages on the database's schema: what differs is repaired, what costs too much is named."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from glyphforge.audit.models import AuditEntry
from glyphforge.database import desired, verify
from glyphforge.database.repair import repair
from glyphforge.errors import Refused
from monitoring.jobs import runner
from monitoring.models import IndexFinding, SchemaDifference, TopQuery
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.sql import one, query, scalar

pytestmark = pytest.mark.django_db
REPAIRED = {
    "DROP INDEX users_created_at": "index users.users_created_at",
    "DROP INDEX api_usage_failures": "index api_usage.api_usage_failures",
    "ALTER TABLE users DISABLE TRIGGER audit": "trigger users.audit",
    "DROP TRIGGER audit ON api_keys": "trigger api_keys.audit",
    "ALTER FUNCTION roll_up_usage() RESET search_path": "function roll_up_usage()",
    "DROP VIEW v_failed_webhook_events CASCADE": "view v_failed_webhook_events",
}


def compare() -> None:
    assert runner.run_by_hand("verify", trigger="manual").outcome == "succeeded"


@pytest.mark.parametrize("sabotage", REPAIRED)
def test_difference_is_repaired_on_its_page(sabotage: str, signed_in: Callable[[str], Client]) -> None:
    query(sabotage)
    compare()
    operator, row = signed_in("operator"), SchemaDifference.objects.get(id=REPAIRED[sabotage])
    assert row.sql
    assert "as the definitions say" in operator.get(row_page(row, "repair")).content.decode()
    told = operator.post(row_page(row, "repair"), CONFIRMED, follow=True)
    assert "difference repaired" in "".join(map(str, told.context["messages"])) if told.context else True
    assert row.name not in {each.name for each in verify.differences()}
    assert not SchemaDifference.objects.filter(pk=row.pk).exists()
    entry = AuditEntry.objects.get(action="repair_schema")
    assert (entry.row_id, entry.reason) == (row.id, CONFIRMED["reason"])
    assert "statements" in (entry.new_values or {})


def test_list_shows_what_differs_and_its_page_the_statements(
    signed_in: Callable[[str], Client], django_assert_max_num_queries: Any
) -> None:
    query("DROP INDEX users_created_at")
    query("ALTER TABLE users ADD COLUMN nickname text")
    compare()
    support = signed_in("support")
    with django_assert_max_num_queries(15):
        listed = support.get(page_of(SchemaDifference)).content.decode()
    assert "users.users_created_at" in listed
    assert "users.nickname" in listed
    with django_assert_max_num_queries(15):
        page = support.get(row_page(SchemaDifference.objects.get(kind="index"))).content.decode()
    assert "CREATE INDEX CONCURRENTLY users_created_at" in page
    extra = signed_in("operator").get(row_page(SchemaDifference.objects.get(kind="column"), "repair"))
    assert "There is nothing to do" in extra.content.decode()


def test_what_holds_rows_is_refused() -> None:
    query("ALTER TABLE users DROP COLUMN name CASCADE")
    with pytest.raises(Refused, match="verify --sql"):
        repair([("column", "users.name")], alias="default", actor="ada", reason="why")


def test_what_does_not_differ_any_more_is_refused() -> None:
    with pytest.raises(Refused, match="does not differ any more"):
        repair([("index", "users.users_created_at")], alias="default", actor="ada", reason="why")
    assert not AuditEntry.objects.filter(action="repair_schema").exists()


def test_what_the_database_refuses_is_said() -> None:
    factories.customer(email="twice@example.com")
    query("DROP INDEX users_email_key")
    factories.customer(email="TWICE@example.com")
    with pytest.raises(Refused, match="The database refused: could not create unique index"):
        repair([("index", "users.users_email_key")], alias="default", actor="ada", reason="why")


def test_useless_indexes_are_named_and_rules_are_not() -> None:
    query("CREATE TABLE fat AS SELECT n AS a, n AS b, repeat(md5(n::text), 6) AS c FROM generate_series(1, 9000) AS n")
    query("CREATE INDEX fat_a ON fat (a)")
    query("CREATE INDEX fat_a_b ON fat (a, b)")
    query("CREATE INDEX fat_c ON fat (c)")
    query("CREATE UNIQUE INDEX fat_b ON fat (b, c)")
    found = {row.index_name: (row.problem, row.detail) for row in IndexFinding.objects.filter(table_name="fat")}
    assert found["fat_a"] == ("duplicate", "fat_a_b begins with the same columns.")
    assert found["fat_c"][0] == "unused"
    assert "fat_b" not in found
    query("CREATE INDEX fat_part ON fat (a) WHERE b > 5")  # of other rows: no duplicate
    assert not IndexFinding.objects.filter(index_name="fat_part", problem="duplicate").exists()


def test_of_our_own_indexes_none_is_superfluous() -> None:
    ours = IndexFinding.objects.filter(problem="duplicate", table_name__in=desired.table_names())
    assert list(ours.values_list("index_name", "detail")) == []


def test_without_the_extension_the_page_says_how_to_switch_it_on(signed_in: Callable[[str], Client]) -> None:
    query("DROP EXTENSION IF EXISTS pg_stat_statements")
    assert "add pg_stat_statements to shared_preload_libraries" in (
        signed_in("operator").get(page_of(TopQuery)).content.decode()
    )


def test_with_the_extension_the_page_lists_statements(
    signed_in: Callable[[str], Client], django_assert_max_num_queries: Any
) -> None:
    if not one("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'")["count"]:
        pytest.skip("needs the server's contrib modules")
    query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    loaded = "pg_stat_statements" in scalar("SELECT current_setting('shared_preload_libraries')")
    query("SELECT count(*) FROM users WHERE name = 'Ada'")
    operator = signed_in("operator")
    with django_assert_max_num_queries(15):
        page = operator.get(page_of(TopQuery)).content.decode()
    assert ("Nothing is counted" in page) is not loaded
