"""The lists and the search at size: whatever is sorted, filtered or looked for, no table is read whole."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.contrib import admin
from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.auth import get_user
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import ApiKey, ApiUsage, Difference, Payment, Subscription, User, WebhookEvent
from billing.services import search
from glyphforge.admin import pagination
from glyphforge.audit.models import AuditEntry
from glyphforge.web.models import AuthenticationFailure
from monitoring.models import Alert, JobRun, MrrMovement, Notification
from tests.support import bulk, plans
from tests.support.admin_pages import page_of

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
QUERIES = 15

MODELS: list[Any] = [User, Subscription, ApiKey, Payment, WebhookEvent, AuditEntry, ApiUsage]
SEARCHES: list[tuple[Any, dict[str, str]]] = [
    (User, {"q": "customer19"}),
    (Subscription, {"q": "customer199"}),
    (Subscription, {"q": "sub_77"}),
    (ApiKey, {"q": "glyph_sk_live_77"}),
    (Payment, {"q": "ch_cus_77"}),
    (WebhookEvent, {"q": "evt_cus_77"}),
    (WebhookEvent, {"q": "cus_77"}),
    (AuditEntry, {"q": "somebody"}),
]

FOUND_BY = [
    "c",
    "customer",
    "customer19",
    "mer 1999",
    "19 customer",
    "custoner1999",
    "is:active",
    "plan:starter mrr:>90",
    "is:suspended customer19",
    "zzz",
    "cus_77",
    "sub_77",
    "in_cus_77",
    "ch_cus_77",
    "pi_77",
    "glyph_sk_live_",
    "glyph_sk_live_77",
    "5a1f6f0c-7d0e-4a51-9d0a-7b7f5e3c9a10",
    "0a1b2c3d",
    "AB12CD34-77",
    "0077",
    "cus_7777777",
    "sub_7777777",
    "in_cus_7777",
    "ch_cus_7777",
    "pi_7777777",
    "price_starter",
    "evt_7777777",
    "cs_7777777",
    "du_7777777",
    "re_7777777",
    "pm_7777777",
    "cus_77 cus_78",
]

RECORDS: list[Any] = [Alert, Notification, JobRun, MrrMovement, Difference, AuthenticationFailure]
RECORDS_ASKED: list[tuple[Any, dict[str, str]]] = [
    (Alert, {"state": "all", "severity__exact": "critical"}),
    (Alert, {"state": "all", "alert_type": "drift"}),
    (Alert, {"state": "resolved", "alert_type": "drift", "o": "-6"}),
    (Alert, {"state": "all", "q": "customer77@"}),
    (AuthenticationFailure, {"q": "203.0.113.77"}),
    (MrrMovement, {"q": "customer77@"}),
]


@pytest.fixture(scope="module")
def large_tables(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Filled once for the tests of this file, undone after them."""
    with django_db_blocker.unblock(), transaction.atomic():
        plans.fill_tables_of_customers()
        yield
        transaction.set_rollback(True)


def offered(changelist: Any) -> Iterator[dict[str, str]]:
    """Every sort under every filter that the list has a link for."""
    sorts = [""]
    for position, header in enumerate(result_headers(changelist)):
        if header["sortable"]:
            sorts += [f"o={position}", f"o=-{position}"]
    filters = {
        choice["query_string"].lstrip("?") for spec in changelist.filter_specs for choice in spec.choices(changelist)
    }
    for filtered, sort in product(sorted(filters | {""}), sorts):
        yield dict(parse_qsl(f"{filtered}&{sort}"))


def read_first_page(reader: Client, request: HttpRequest, model: Any) -> None:
    """As the page does; drawn is each list once, which asks for the same whatever is sorted or filtered."""
    if not request.GET:
        assert reader.get(request.path).status_code == 200
        return
    page: Any = admin.site.get_model_admin(model).changelist_view(request)
    assert page.status_code == 200, request
    list(page.context_data["cl"].result_list)


def faults(reader: Client, asked: list[tuple[Any, dict[str, str]]]) -> list[tuple[str, dict[str, str], str, str]]:
    """The statements behind the pages that read a large table from its start."""
    found = []
    user: Any = get_user(reader)
    for model, query in asked:
        request = RequestFactory().get(page_of(model), query)
        request.user, request.session = user, reader.session
        with CaptureQueriesContext(connection) as queries:
            read_first_page(reader, request, model)
        assert len(queries) <= QUERIES, (model, query, len(queries))
        found += [
            (model.__name__, query, table, sql) for sql in plans.selects(queries) for table in plans.read_whole(sql)
        ]
    return found


@pytest.mark.usefixtures("large_tables")
def test_no_first_page_reads_or_counts_a_whole_table(signed_in: Callable[[str], Client]) -> None:
    support = signed_in("support")
    by_customer = {"user__id__exact": str(User.objects.earliest("created_at").pk)}
    links = [(model, query) for model in MODELS for query in offered(support.get(page_of(model)).context["cl"])]
    # Four filters of customers (all, and each status) by five orders: the links were really read.
    assert sum(model is User for model, _ in links) == 4 * 5
    asked = [*links, *SEARCHES, (ApiUsage, by_customer), (Payment, by_customer), (ApiKey, by_customer)]
    assert faults(support, asked) == []

    counted = support.get(page_of(User)).context["cl"].result_count
    assert abs(counted - bulk.CUSTOMERS) < bulk.CUSTOMERS / 10  # an estimate
    rare = support.get(page_of(User), {"status__exact": "suspended"})
    assert rare.context["cl"].result_count == bulk.CUSTOMERS / bulk.RARE  # exact


@pytest.mark.usefixtures("large_tables")
def test_no_first_page_of_what_the_machinery_recorded_reads_a_whole_table(signed_in: Callable[[str], Client]) -> None:
    plans.fill_tables_of_the_machinery()
    auditor = signed_in("auditor")
    links = [(model, query) for model in RECORDS for query in offered(auditor.get(page_of(model)).context["cl"])]
    # All, each kind and each plan, by both directions of time or neither: the links were really read.
    assert sum(model is MrrMovement for model, _ in links) == (1 + 5 + 4) * 3
    day = {"occurred_at__date": f"{timezone.now() - timedelta(days=2):%Y-%m-%d}"}
    assert faults(auditor, [*links, *RECORDS_ASKED, (MrrMovement, day)]) == []


@pytest.mark.usefixtures("large_tables")
def test_numbered_pages_end_at_a_depth_and_say_so(
    signed_in: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "DEEPEST_PAGE", 3)
    support = signed_in("support")
    last = support.get(page_of(User), {"p": "3"})
    assert "customers, the first 75 on these pages: search or filter for the others" in last.content.decode()
    with CaptureQueriesContext(connection) as queries:
        beyond = support.get(page_of(User), {"p": "9999"})
    assert [row.pk for row in beyond.context["cl"].result_list] == [row.pk for row in last.context["cl"].result_list]
    assert any("OFFSET 50" in sql for sql in plans.selects(queries))
    few = support.get(page_of(User), {"status__exact": "suspended"}).content.decode()
    assert f"{bulk.CUSTOMERS // bulk.RARE} customers" in few
    assert "on these pages" not in few


@pytest.mark.usefixtures("large_tables")
def test_no_search_for_a_customer_reads_a_whole_table() -> None:
    plans.fill_tables_of_the_mirror()
    for text in FOUND_BY:
        with CaptureQueriesContext(connection) as queries:
            search.find(text)
        selects = plans.selects(queries)
        assert selects
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # as the search does
        for sql in selects:
            assert plans.read_whole(sql) == set(), (text, sql)
