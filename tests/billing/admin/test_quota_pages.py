"""Extra quota and corrected usage as staff grant, see and end them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from billing.models import Entitlement, ExtraQuota, UsageCorrection, User
from billing.services import extra_quota
from billing.services.extra_quota import Terms
from glyphforge.audit.models import AuditEntry
from glyphforge.errors import Refused
from glyphforge.rows import Json
from tests.support import factories
from tests.support.admin_pages import CONFIRMED, page_of, row_page
from tests.support.sql import query

pytestmark = [pytest.mark.django_db, pytest.mark.one_day]
UNTIL = timezone.now() + timedelta(days=40)
FORM = {
    "extra_requests": "500",
    "extra_per_minute": "",
    "api_key": "",
    "until_0": f"{UNTIL:%Y-%m-%d}",
    "until_1": "12:00",
}


@pytest.fixture
def lead(signed_in: Callable[[str], Client]) -> Client:
    return signed_in("billing_lead")


@pytest.fixture
def user() -> User:
    user = factories.customer(email="ada@example.com")
    factories.subscription(user)
    factories.requests(user, 9)
    query("UPDATE subscriptions SET monthly_request_limit = 10 WHERE status = 'active'")
    return user


def previewed(client: Client, url: str, form: Json) -> tuple[str, Json]:
    page = client.post(url, form | {"previewed": "yes", "reason": ""}).content.decode()
    return page, dict(re.findall(r'name="(token|shown)" value="([^"]*)"', page.replace("&#x27;", "'")))


def said(response: Any) -> str:
    assert response.status_code == 302, re.findall(r'role="alert">([^<]*)', response.content.decode())
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def table(page: str) -> list[list[str]]:
    """The rows of what changes: name, before, after."""
    return [re.findall(r">([^<>]+)</t[hd]>", row) for row in re.findall(r'<tr><th scope="row">.*?</tr>', page)]


def test_extra_quota_is_previewed_granted_once_and_audited(lead: Client, user: User) -> None:
    url = row_page(user, "grant_extra_quota")
    page, carried = previewed(lead, url, FORM)
    assert table(page) == [
        ["Requests a month", "10", "510"],
        ["Requests a minute and key", "60", "60"],
        ["Used this month: 9", "90 % of 10", "1 % of 510"],
    ]
    assert f"All keys of the customer, until {UNTIL:%Y-%m-%d} 12:00 UTC." in page
    assert ExtraQuota.objects.count() == 0
    confirmed = CONFIRMED | FORM | carried
    assert said(lead.post(url, confirmed)) == (
        f"ada@example.com has 500 requests a month more until {UNTIL:%Y-%m-%d} 12:00 UTC."
    )
    assert "sent before" in said(lead.post(url, confirmed))
    row = ExtraQuota.objects.get()
    entry = AuditEntry.objects.get(table_name="entitlement_grants")
    assert (entry.row_id, entry.action, entry.reason, entry.actor) == (
        str(row.pk), "insert", "Ticket 4711", row.granted_by,
    )  # fmt: skip
    assert Entitlement.objects.get(user=user).monthly_request_limit == 510


def test_other_terms_than_were_shown_are_shown_anew(lead: Client, user: User) -> None:
    url = row_page(user, "grant_extra_quota")
    _, carried = previewed(lead, url, FORM)
    answer = lead.post(url, CONFIRMED | FORM | carried | {"extra_requests": "900"})
    assert "This is what it comes to now: look at it, and confirm." in answer.content.decode()
    assert ExtraQuota.objects.count() == 0


@pytest.mark.parametrize(
    ("altered", "problem"),
    [
        ({"extra_requests": ""}, "Nothing is granted: say how many requests more, a month or a minute."),
        ({"until_0": "2020-01-01"}, "It has to end after it begins and after now, not on 2020-01-01 12:00 UTC."),
        ({"until_0": "2150-01-01"}, "It ends within 366 days, not on 2150-01-01."),
        ({"extra_requests": "1000000001"}, "Ensure this value is less than or equal to 1000000000."),
        ({"api_key": "of somebody else"}, "Select a valid choice."),
    ],
)
def test_what_cannot_be_granted_says_why(lead: Client, user: User, altered: Json, problem: str) -> None:
    page, _ = previewed(lead, row_page(user, "grant_extra_quota"), FORM | altered)
    assert problem in page
    assert ExtraQuota.objects.count() == 0


def test_page_shows_the_limit_with_what_is_granted_and_ends_it_early(lead: Client, user: User) -> None:
    terms = Terms(extra_requests=8, extra_per_minute=0, ends_at=UNTIL)
    granted = extra_quota.grant(user, terms, actor="ada", reason="A fair")
    page = lead.get(row_page(user)).content.decode()
    assert "<strong>9</strong> of 18 requests this month" in page
    assert "8 of the limit granted beyond the plan" in page
    assert "50 % used" in page
    assert "Extra quota created" in page
    url = row_page(granted, "end")
    assert url in page
    assert said(lead.post(url, CONFIRMED)) == "It has ended."
    assert "It has ended on" in lead.get(url).content.decode()
    assert "<strong>9</strong> of 10 requests this month" in lead.get(row_page(user)).content.decode()
    entry = AuditEntry.objects.get(table_name="entitlement_grants", action="update")
    assert (entry.reason, list(entry.new_values or {})) == ("Ticket 4711", ["ends_at"])


def test_what_has_not_begun_is_gone_when_it_is_ended(user: User) -> None:
    terms = Terms(8, 0, ends_at=UNTIL, starts_at=UNTIL - timedelta(days=1))
    granted = extra_quota.grant(user, terms, actor="ada", reason="A fair")
    assert extra_quota.end(granted, actor="ada", reason="No fair") is None
    assert ExtraQuota.objects.count() == 0


@pytest.mark.parametrize("problem", ["revoked", "foreign"])
def test_key_that_cannot_be_used_is_refused(user: User, problem: str) -> None:
    key = factories.api_key(user if problem == "revoked" else None, revoked_at=timezone.now())
    with pytest.raises(Refused, match="has no usable key"):
        extra_quota.grant(user, Terms(8, 0, ends_at=UNTIL, api_key_id=key.pk), actor="ada", reason="A fair")


def test_alert_near_the_limit_leads_to_the_grant_and_back(
    signed_in: Callable[[str], Client], lead: Client, user: User
) -> None:
    alert = factories.alert(
        alert_type="users_near_limit", fingerprint=f"users_near_limit:{user.pk}", object_type="user", object_id=user.pk
    )
    odd = factories.alert(
        alert_type="users_near_limit", fingerprint="users_near_limit:odd", object_type="user", object_id="odd"
    )
    offered = f"{row_page(user, 'grant_extra_quota')}?next={row_page(alert)}"
    assert offered in lead.get(row_page(alert)).content.decode()
    assert lead.get(row_page(odd)).status_code == 200
    assert row_page(user, "grant_extra_quota") not in signed_in("support").get(row_page(alert)).content.decode()
    assert lead.post(offered, CONFIRMED | FORM)["Location"] == row_page(alert)


def test_usage_is_corrected_by_an_entry_that_is_previewed_and_audited(lead: Client, user: User) -> None:
    url = row_page(user, "correct_usage")
    month = f"{timezone.now():%Y-%m}"
    form = {"month": f"{month}-01", "requests": "-4", "api_key": ""}
    page, carried = previewed(lead, url, form)
    assert table(page) == [["Counted", "9", "9"], ["Corrected", "+0", "-4"], ["Used", "9", "5"]]
    confirmed = CONFIRMED | form | carried
    assert said(lead.post(url, confirmed)) == f"{month} of ada@example.com counts 5 requests."
    assert "sent before" in said(lead.post(url, confirmed))
    row = UsageCorrection.objects.get()
    entry = AuditEntry.objects.get(table_name="usage_corrections")
    assert (row.requests, entry.reason, entry.actor) == (-4, "Ticket 4711", row.made_by)
    shown = lead.get(row_page(user)).content.decode()
    assert "<strong>5</strong> of 10 requests this month" in shown
    assert "Usage correction created" in shown
    page, _ = previewed(lead, url, form | {"requests": "-6"})
    assert "The month counts 5 requests: 6 cannot be taken off." in page
    page, _ = previewed(lead, url, form | {"requests": "0"})
    assert "Say how many requests: 0 corrects nothing." in page


@pytest.mark.parametrize("state", ["upcoming", "in_force", "ended", ""])
def test_lists_open_and_filter_by_state(lead: Client, user: User, state: str) -> None:
    now = timezone.now()
    days = {"upcoming": (1, 2), "in_force": (-1, 1), "ended": (-2, -1)}
    for number, (begins, ends) in enumerate(days.values(), start=1):
        ExtraQuota.objects.create(
            user=user, extra_requests=1000 * number, reason="r", granted_by="ada",
            starts_at=now + timedelta(days=begins), ends_at=now + timedelta(days=ends),
        )  # fmt: skip
    page = lead.get(page_of(ExtraQuota), {"state": state} if state else {}).content.decode()
    shown = re.findall(r"([123]),000 requests a month more", page)
    assert sorted(set(shown)) == ([str([*days].index(state) + 1)] if state else ["1", "2", "3"])
    query(
        "SELECT correct_usage(%s, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 7, 'Lost in a crash')", user.pk
    )
    assert "Lost in a crash" in lead.get(page_of(UsageCorrection), {"q": "ada@"}).content.decode()
    assert "+7" in lead.get(row_page(UsageCorrection.objects.get())).content.decode()
