"""What monitoring adds to the database can be taken away and added again."""

import pytest
from django.core.management import call_command

from tests.support.sql import query

OBJECTS = (
    "SELECT 'relation', c.relname FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace"
    " UNION ALL SELECT 'function', p.proname FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace"
    " UNION ALL SELECT 'trigger', t.tgname || t.tgrelid::regclass FROM pg_trigger AS t"
    " WHERE NOT t.tgisinternal ORDER BY 1, 2"
)


@pytest.mark.slow
@pytest.mark.django_db
def test_views_go_down_and_come_up_again() -> None:
    before = query(OBJECTS)
    query("SET CONSTRAINTS ALL IMMEDIATE")
    call_command("migrate", "monitoring", "zero", verbosity=0)
    assert not query("SELECT 1 FROM pg_views WHERE viewname LIKE 'v\\_%%'")
    call_command("migrate", "monitoring", verbosity=0)
    assert query(OBJECTS) == before
