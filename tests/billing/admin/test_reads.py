"""Who of staff looked at which customer is written down, apart from what was changed."""

from collections.abc import Callable

import pytest
from django.test import Client

from glyphforge.audit.models import Read
from tests.support import factories
from tests.support.sql import insert, run, scalar

pytestmark = pytest.mark.django_db


def test_each_view_of_a_customers_page_is_written_down(signed_in: Callable[[str], Client]) -> None:
    client, customer = signed_in("support"), factories.customer()
    for _ in range(2):
        assert client.get(f"/admin/billing/user/{customer.pk}/change/").status_code == 200
    client.get("/admin/billing/user/")
    reads = Read.objects.values_list("table_name", "row_id", "actor")
    assert set(reads) == {("users", str(customer.pk), _name(client))}
    assert len(reads) == 2


def _name(client: Client) -> str:
    return str(scalar("SELECT username FROM auth_user WHERE id = %s", int(client.session["_auth_user_id"])))


def test_page_that_is_refused_is_no_read(client: Client) -> None:
    client.get(f"/admin/billing/user/{factories.customer().pk}/change/")
    assert not Read.objects.exists()


def test_reads_are_kept_for_ninety_days() -> None:
    values = {"actor": "kim", "table_name": "users", "row_id": "1", "db_role": "app"}
    for days in (89, 91):
        insert("read_log", **values)
        run("UPDATE read_log SET occurred_at = now() - %s * interval '1 day' WHERE occurred_at = now()", days)
    assert scalar("SELECT cleanup_read_log()") == 1
    assert scalar("SELECT cleanup_read_log(10)") == 1
