"""No address of the back office answers 5xx, whatever somebody puts into it."""

from collections.abc import Callable, Iterator
from itertools import cycle, product
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import NoReverseMatch, reverse

from billing.models import Subscription, User, WebhookEvent
from glyphforge.admin.keyset import AFTER, BEFORE, KeysetModelAdmin
from glyphforge.admin.model_admin import FILTER_LOOKUPS, ModelAdmin
from tests.support import factories
from tests.support.admin_pages import page_of

pytestmark = pytest.mark.django_db
HUGE = "9" * 400
ODD = (
    "\0",
    "a\0b",
    "",
    " ",
    "%",
    "\\",
    "'; --",
    "\ufffd\u202e\U0010ffff",
    "x" * 3_000,
    HUGE,
    "-1",
    str(2**63),
    "1e400",
    "NaN",
    "infinity",
    "None",
    "true",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "294277-01-01",
    "00000000-0000-0000-0000-00000000000g",
    "[]",
    '{"a": 1}',
    "a,b,,",
)
ALL = [pytest.param(model, id=model._meta.label_lower) for model in admin.site._registry]


OWN = ("q", "p", "o", "e", "all", "_to_field", "_popup", "_changelist_filters", "_facets")
MOMENTS = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-01T00:00:00+00:00")
FOREIGN = ("user__api_keys__key_hash__startswith", "id__nosuch", "id__regex", "payload__a__0", "pk__in", "__")


def lookups(owner: Any) -> list[str]:
    """By what the list may be asked."""
    names = [
        getattr(each, "parameter_name", None) or (each if isinstance(each, str) else each[0])
        for each in owner.list_filter
    ]
    return [
        *names,
        *(f"{name}__{how}" for name in names for how in sorted(FILTER_LOOKUPS)),
        *getattr(owner, "linked_by", ()),
    ]


def addresses(owner: Any, turn: int) -> Iterator[dict[str, Any]]:
    """Few addresses in which much is asked; each list gets other values of the table."""
    values = cycle([*ODD[turn % len(ODD) :], *ODD[: turn % len(ODD)]])
    for _ in range(2):
        yield {name: next(values) for name in OWN}
    yield {"po"[turn % 2]: next(values)}
    yield {FOREIGN[turn % len(FOREIGN)]: next(values)}
    if names := lookups(owner):
        yield {names[turn % len(names)]: [next(values), next(values)]}
        yield {name: next(value for value in values if "\0" not in value) for name in names}
    if isinstance(owner, KeysetModelAdmin):
        for moment, key in zip(cycle(MOMENTS), ("x", "evt_\0", HUGE, "1", "y", "-" + HUGE), strict=False):
            yield {AFTER: f"{moment}~{key}"}
        for value in ODD[turn % 3 :: 3]:
            yield {BEFORE: value}


def asked(client: Client, path: str) -> int:
    """The status, in a transaction of its own, as every request has it outside of tests."""
    with transaction.atomic():
        status: int = client.get(path).status_code
        transaction.set_rollback(True)
    return status


@pytest.fixture
def rows() -> None:
    user = factories.customer()
    factories.issued_key(user)
    factories.payment(user)
    factories.webhook_event()
    factories.requests(user, 3)


@pytest.mark.parametrize("model", ALL)
def test_no_list_answers_5xx(model: Any, rows: None) -> None:
    administrator, support = staff_of("administrator"), staff_of("support")
    path, turn = page_of(model), list(admin.site._registry).index(model)
    failed = {}
    for number, query in enumerate(addresses(admin.site._registry[model], turn)):
        address = f"{path}?{urlencode(query, doseq=True)}"
        if (status := asked(support if number % 4 == turn % 4 else administrator, address)) >= 500:
            failed[address] = status
    assert failed == {}


@pytest.mark.parametrize("model", ALL)
def test_no_page_of_a_row_answers_5xx(model: Any) -> None:
    administrator = staff_of("administrator")
    operations = [operation.name for operation in getattr(admin.site._registry[model], "operations", ())]
    failed = {}
    pages = ("history", "delete", *operations)
    for page, pk in (
        *product(["change"], ("\0", HUGE, "%00", str(2**63))),
        *zip(pages, cycle((HUGE, "-1", "x" * 3_000, "_00", "nobody")), strict=False),
    ):
        try:
            path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=[pk])
        except NoReverseMatch:
            continue
        if (status := asked(administrator, path)) >= 500:
            failed[path] = status
    assert failed == {}


def test_no_action_on_odd_rows_answers_5xx() -> None:
    administrator = staff_of("administrator")
    administrator.raise_request_exception = True
    for key, (model, owner) in zip(cycle(("x", HUGE, "", "-1")), admin.site._registry.items(), strict=False):
        path = page_of(model)
        request = administrator.get(path).wsgi_request
        for action in list(owner.get_actions(request))[:1]:
            for selected in (key, "x"):
                with transaction.atomic():
                    answer = administrator.post(path, {"action": action, "_selected_action": selected})
                    transaction.set_rollback(True)
                assert answer.status_code < 500, path


def staff_of(role: str) -> Client:
    """A signed-in client that answers 500 as a browser would see it."""
    client = Client(raise_request_exception=False)
    client.force_login(factories.staff("support", is_superuser=role == "administrator"))
    return client


@pytest.mark.parametrize("value", ODD)
def test_no_other_page_answers_5xx(value: str, client: Client) -> None:
    client.raise_request_exception = False
    for path in ("/", "/admin/login/", "/healthz"):
        assert asked(client, f"{path}?{urlencode({'next': value, 'q': value})}") < 500
    assert client.post("/admin/login/", {"username": value, "password": value}).status_code < 500
    if value.isascii():
        client.cookies["sessionid"] = value
        assert asked(client, "/admin/") < 500
        del client.cookies["sessionid"]
    client.force_login(factories.staff("operator", is_superuser=True))
    query = urlencode({"q": value, "s": value, "term": value, "extended": value, "days": value, "app_label": value})
    for path in ("/admin/", "/admin/search/", "/admin/autocomplete/", "/admin/jsi18n/", f"/admin/{value}/"):
        assert (
            asked(client, f"{path.replace(value, urlencode({'': value})[1:]) if value.strip() else path}?{query}") < 500
        )


def test_text_with_nul_is_refused_before_the_database_sees_it(client: Client) -> None:
    for answer in (
        client.get("/admin/billing/user/%00/change/"),
        client.get("/admin/login/?next=%00"),
        client.post("/admin/login/", {"username": "\0", "password": "x"}),
        client.post("/admin/login/", {"username": "x", "password": "x", "\0": ""}),
    ):
        assert answer.status_code == 400
        assert "glyphforge/error.css" in answer.content.decode()


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Subscription, "user__api_keys__key_hash__startswith"),
        (Subscription, "user__email__startswith"),
        (User, "email__regex"),
        (User, "cognito_user_id__isnull"),
        (WebhookEvent, "payload__data__object__customer"),
        (WebhookEvent, "status__regex"),
    ],
)
def test_lists_are_asked_only_by_what_they_offer(model: Any, lookup: str, signed_in: Callable[[str], Client]) -> None:
    support = signed_in("support")
    assert support.get(page_of(model), {lookup: "a"}).status_code == 400
    assert support.get(page_of(model), {"status__exact": "active"}).status_code == 200


def test_links_to_the_lists_of_a_customer_are_followed(signed_in: Callable[[str], Client]) -> None:
    support, user = signed_in("support"), factories.customer()
    for name in ("subscription", "apikey", "payment", "apiusage"):
        answer = support.get(reverse(f"admin:billing_{name}_changelist"), {"user__id__exact": str(user.pk)})
        assert answer.status_code == 200


def test_every_list_is_guarded() -> None:
    assert all(isinstance(owner, ModelAdmin) for owner in admin.site._registry.values())
