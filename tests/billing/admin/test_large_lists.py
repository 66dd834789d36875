"""The first page of every list at size: whatever is sorted, filtered or searched, no table is read whole."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import ApiKey, ApiUsage, AuditEntry, Payment, Subscription, User, WebhookEvent
from tests import crowd

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
QUERIES = 15

OFFERED: list[tuple[Any, dict[str, str]]] = [
    (User, {}),
    (User, {"o": "0"}),  # e-mail
    (User, {"o": "-0"}),
    (User, {"o": "6"}),  # created
    (User, {"status__exact": "active"}),
    (User, {"status__exact": "suspended"}),
    (User, {"q": "customer19"}),
    (Subscription, {}),
    (Subscription, {"status__exact": "active"}),
    (Subscription, {"status__exact": "past_due"}),
    (Subscription, {"tier__exact": "free"}),
    (Subscription, {"tier__exact": "enterprise"}),
    (Subscription, {"is_duplicate__exact": "1"}),
    (Subscription, {"q": "customer199"}),
    (Subscription, {"q": "sub_77"}),
    (ApiKey, {}),
    (ApiKey, {"environment__exact": "development"}),
    (ApiKey, {"environment__exact": "production"}),
    (ApiKey, {"revoked": "yes"}),
    (ApiKey, {"revoked": "no"}),
    (ApiKey, {"q": "glyph_sk_live_77"}),
    (Payment, {}),
    (Payment, {"status__exact": "succeeded"}),
    (Payment, {"status__exact": "failed"}),
    (Payment, {"q": "ch_cus_77"}),
    (WebhookEvent, {}),
    (WebhookEvent, {"status__exact": "processed"}),
    (WebhookEvent, {"status__exact": "failed"}),
    (WebhookEvent, {"q": "evt_cus_77"}),
    (WebhookEvent, {"q": "cus_77"}),
    (AuditEntry, {}),
    (AuditEntry, {"table_name": "users"}),
    (AuditEntry, {"table_name": "plan_prices"}),
    (AuditEntry, {"q": "somebody"}),
    (ApiUsage, {}),
]


def test_no_first_page_reads_or_counts_a_whole_table(signed_in: Callable[[str], Client]) -> None:
    crowd.assemble()
    support = signed_in("support")
    by_customer = {"user__id__exact": str(User.objects.earliest("created_at").pk)}
    faults = []
    for model, query in [*OFFERED, (ApiUsage, by_customer), (Payment, by_customer), (ApiKey, by_customer)]:
        with CaptureQueriesContext(connection) as queries:
            response = support.get(reverse(f"admin:billing_{model._meta.model_name}_changelist"), query)
        assert response.status_code == 200, (model, query)
        assert len(queries) <= QUERIES, (model, query, len(queries))
        faults += [
            (model.__name__, query, table, sql) for sql in crowd.selects(queries) for table in crowd.read_whole(sql)
        ]
    assert faults == []

    counted = support.get(reverse("admin:billing_user_changelist")).context["cl"].result_count
    assert abs(counted - crowd.CUSTOMERS) < crowd.CUSTOMERS / 10  # an estimate
    rare = support.get(reverse("admin:billing_user_changelist"), {"status__exact": "suspended"})
    assert rare.context["cl"].result_count == crowd.CUSTOMERS / 500  # exact
