"""Lists of customers and of what is theirs as files: what the list shows, for those who may."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing.models import OpenInvoice, Payment, Subscription, User, WebhookEvent
from glyphforge.audit.models import AuditEntry
from monitoring.models import MrrMovement
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of

pytestmark = pytest.mark.django_db


def lines(answer: Any) -> list[str]:
    text: str = answer.content.decode("utf-8-sig")
    return text.splitlines()


def test_subscriptions_of_a_filter_come_with_their_customers_address(signed_in: Callable[[str], Client]) -> None:
    ada = factories.customer(email="ada@example.com", name="Zoë Müller")
    factories.subscription(ada, tier="starter", status="past_due", price_cents=9_900)
    factories.subscription(tier="starter")
    lead = signed_in("billing_lead")
    header, *rows = lines(lead.post(page_of(Subscription, "export_all") + "?status__exact=past_due", CONFIRMED))
    assert header.startswith("id,user_id,tier,status,")
    assert [row.endswith("ada@example.com,Zoë Müller") for row in rows] == [True]
    entry = AuditEntry.objects.get(action="export")
    assert (entry.table_name, entry.new_values) == ("subscriptions", {"rows": 1, "shown": "status: past_due"})


def test_customers_of_a_search_alone_are_exported(signed_in: Callable[[str], Client]) -> None:
    factories.customer(email="ada@example.com")
    factories.customer(email="grace@example.com")
    lead = signed_in("billing_lead")
    assert len(lines(lead.post(page_of(User, "export_all") + "?q=ada%40", CONFIRMED))) == 2
    assert len(lines(lead.post(page_of(User, "export_all"), CONFIRMED))) == 3


@pytest.mark.parametrize("model", [User, Subscription, Payment, OpenInvoice, MrrMovement, AuditEntry])
@pytest.mark.parametrize(("role", "may"), [("billing_lead", True), ("auditor", True), ("support", False)])
def test_who_may_export_a_list_is_offered_it(
    model: Any, role: str, may: bool, signed_in: Callable[[str], Client]
) -> None:
    factories.payment(factories.subscription().user)
    client = signed_in(role)
    listed = client.get(page_of(model))
    if listed.status_code == 200:
        assert (page_of(model, "export_all") in listed.content.decode()) == may
    assert client.post(page_of(model, "export_all"), CONFIRMED).status_code == (200 if may else 403)


def test_button_of_a_list_acts_on_what_the_list_shows(signed_in: Callable[[str], Client]) -> None:
    shown = factories.webhook_event(stripe_event_id="evt_shown123", status="failed")
    hidden = factories.webhook_event(stripe_event_id="evt_hidden12", status="failed")
    support = signed_in("support")
    narrowed = "?q=evt_shown123"
    address = page_of(WebhookEvent, "retry_webhooks_all") + narrowed
    assert address in support.get(page_of(WebhookEvent) + narrowed).content.decode()
    assert support.get(address).context["count"] == 1
    answer = support.post(address, CONFIRMED)
    assert answer["Location"] == page_of(WebhookEvent) + narrowed
    statuses = dict(WebhookEvent.objects.values_list("stripe_event_id", "status"))
    assert statuses == {shown.stripe_event_id: "pending", hidden.stripe_event_id: "failed"}
