"""The customer's page as of a moment: how they were, what changed since, and the ways there."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.admin.customer_link import as_of_url
from billing.models import User
from monitoring.models import MrrMovement
from tests.support import factories
from tests.support.as_of import each_statement_has_its_moment
from tests.support.sql import run, scalar

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]


@pytest.fixture
def then(db: None) -> tuple[User, datetime]:
    """A customer, and a moment since which much has changed."""
    each_statement_has_its_moment()
    user = factories.customer(email="ada@example.com", name="Ada", stripe_customer_id="cus_ada")
    factories.subscription(user)
    key = factories.api_key(user, name="CI")
    factories.payment(user, amount_cents=2900)
    user.notes.create(author="grace", body="Prefers to be called.")
    at: datetime = scalar("SELECT clock_timestamp()")
    run("UPDATE users SET name = 'Ada L.', status = 'suspended'")
    run("UPDATE subscriptions SET tier = 'professional', price_cents = 9900 WHERE status = 'active'")
    run("UPDATE api_keys SET revoked_at = now(), revoked_reason = 'leaked' WHERE id = %s", key.pk)
    factories.payment(user, amount_cents=100)
    run(
        "INSERT INTO customer_notes (user_id, author, body, created_at) SELECT %s, 'eve', 'Later.', clock_timestamp()",
        user.pk,
    )
    return user, at


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_page_shows_the_customer_as_they_were_within_its_queries(
    signed_in: Callable[[str], Client], then: tuple[User, datetime]
) -> None:
    user, at = then
    support = signed_in("support")
    with CaptureQueriesContext(connection) as queries:
        response = support.get(as_of_url(user.pk, at))
    assert len(queries) <= 15, [query["sql"][:150] for query in queries]
    shown = {fact.name: fact.then for fact in response.context["facts"]}
    assert (shown["Name"], shown["Account"], shown["Plan"]) == ("Ada", "Active", "Starter")
    assert (shown["Requests a month"], shown["Price a month"], shown["Paid until then"]) == (
        "10,000",
        "29.00 USD",
        "29.00 USD",
    )
    assert shown["Key glyph_sk_dev_abc…"] == "CI, Development, usable"
    page = text(response)
    assert "This is the customer as of" in page
    assert "Nothing can be done here." in page
    assert "Prefers to be called." in page
    assert "Later." not in page
    assert "/do/" not in page


def test_compared_with_now_what_changed_is_marked(
    signed_in: Callable[[str], Client], then: tuple[User, datetime]
) -> None:
    user, at = then
    support = signed_in("support")
    alone = support.get(as_of_url(user.pk, at))
    compared = support.get(alone.context["compare_url"])
    assert f'href="{alone.context["compare_url"].replace("&", "&amp;")}"' in text(alone)
    changed = {fact.name: (fact.then, fact.now) for fact in compared.context["facts"] if fact.is_changed}
    assert changed == {
        "Account": ("Active", "Suspended"),
        "Name": ("Ada", "Ada L."),
        "Plan": ("Starter", "Professional"),
        "Requests a month": ("10,000", "100,000"),
        "Price a month": ("29.00 USD", "99.00 USD"),
        "Paid until then": ("29.00 USD", "30.00 USD"),
        "Key glyph_sk_dev_abc…": ("CI, Development, usable", "CI, Development, revoked: leaked"),
    }
    assert text(compared).count(">Changed<") == len(changed)


def test_before_what_the_log_knows_says_so(signed_in: Callable[[str], Client], then: tuple[User, datetime]) -> None:
    response = signed_in("support").get(as_of_url(then[0].pk, then[1] - timedelta(days=400)))
    assert response.status_code == 200
    assert "Not known before" in text(response)
    assert "Plan" not in text(response).split("<main")[-1].split("Not known")[1]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "“” is no moment"),
        ("yesterday", "“yesterday” is no moment"),
        ("2026-02-30", "“2026-02-30” is no moment"),
        ("2026-01-01T25:00", "is no moment"),
        ("<script>", "“&lt;script&gt;” is no moment"),
        ("0001-01-01T00:00+14:00", "is no moment"),
        ("9999-12-31T00:00:00Z", "is in the future"),
        ("x" * 1000, "xxx…” is no moment"),
    ],
)
def test_what_is_no_moment_is_answered_by_what_would_be_one(
    signed_in: Callable[[str], Client], written: str, problem: str
) -> None:
    url = f"{reverse('admin:billing_user_change', args=[factories.customer().pk])}?at={quote(written)}"
    response = signed_in("support").get(url)
    assert response.status_code == 400
    assert problem in text(response)
    assert 'name="at"' in text(response)


@pytest.mark.parametrize(
    "written",
    ["{:%Y-%m-%dT%H:%M:%S.%f}", "{:%Y-%m-%d %H:%M:%S.%f}", "{:%Y-%m-%dT%H:%M:%S.%f+00:00}", "{:%Y-%m-%dT%H:%M:%S.%fZ}"],
)
def test_a_moment_may_be_written_in_several_ways(
    signed_in: Callable[[str], Client], then: tuple[User, datetime], written: str
) -> None:
    user, at = then
    response = signed_in("support").get(
        f"{reverse('admin:billing_user_change', args=[user.pk])}?at={written.format(at)}"
    )
    assert response.context["then"].at == at


def test_past_of_a_customer_is_for_who_may_see_them_and_written_down(
    client: Client, signed_in: Callable[[str], Client], then: tuple[User, datetime]
) -> None:
    url = as_of_url(*[then[0].pk, then[1]])
    assert client.get(url).status_code == 302
    before = scalar("SELECT count(*) FROM read_log")
    signed_in("auditor").get(url)
    assert scalar("SELECT count(*) FROM read_log") == before + 1


def test_what_is_dated_leads_to_the_customer_as_of_then(
    signed_in: Callable[[str], Client], then: tuple[User, datetime]
) -> None:
    user, _ = then
    auditor = signed_in("auditor")
    alert = factories.alert(
        fingerprint=f"error_rate:{user.pk}", alert_type="error_rate", object_type="user", object_id=str(user.pk)
    )
    about_plan = factories.alert(
        fingerprint="stale_subscriptions:1",
        object_type="subscription",
        object_id=str(user.subscriptions.get(status="active").pk),
    )
    page = auditor.get(reverse("admin:billing_user_change", args=[user.pk]))
    for entry in page.context["timeline"]:
        assert entry.as_of == as_of_url(user.pk, entry.at)
        assert f'href="{entry.as_of}"' in text(page)
    assert [row["as_of"] for row in page.context["alerts"]] == [as_of_url(user.pk, alert.fired_at)]
    payment = user.payments.earliest("created_at")
    assert as_of_url(user.pk, payment.paid_at) in text(page)
    own_page = text(auditor.get(reverse("admin:billing_payment_change", args=[payment.pk])))
    for moment in (payment.paid_at, payment.movements.get().created_at):
        assert as_of_url(user.pk, moment) in own_page
    movement = MrrMovement.objects.filter(user_id=user.pk).earliest("id")
    for row, at in (
        (alert, alert.first_seen_at),
        (about_plan, about_plan.first_seen_at),
        (movement, movement.occurred_at),
    ):
        url = reverse(f"admin:monitoring_{row._meta.model_name}_change", args=[row.pk])
        assert as_of_url(user.pk, at) in text(auditor.get(url))
