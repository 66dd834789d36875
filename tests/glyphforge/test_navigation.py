"""A dozen places for anybody, and the command palette that knows every page."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse

from glyphforge import roles
from glyphforge.admin import sidebar
from glyphforge.admin.palette import find
from tests.support import factories
from tests.support.admin_pages import page_of

pytestmark = pytest.mark.django_db


def places(client: Client) -> list[dict[str, Any]]:
    (group,) = client.get("/admin/").context["sidebar_navigation"]
    return [item for item in group["items"] if item["has_permission"]]


def palette(client: Client, typed: str) -> list[tuple[str, str]]:
    page = client.get(reverse("admin:search"), {"s": typed, "extended": "1"})
    return [(found.title, found.link) for found in page.context["results"].object_list]


@pytest.mark.parametrize(("role", "most"), [("support", 8), ("billing_lead", 10), ("operator", 12), ("auditor", 12)])
def test_nobody_has_more_than_twelve_places(role: str, most: int, signed_in: Callable[[str], Client]) -> None:
    client = signed_in(role)
    shown = places(client)
    assert 6 <= len(shown) <= most
    for place in shown:
        link = str(place.get("link_callback") or place["link"])
        assert client.get(link).status_code == 200, place["title"]


def test_place_is_marked_while_one_of_its_pages_is_open(signed_in: Callable[[str], Client]) -> None:
    client = signed_in("support")
    for path in (reverse("admin:billing_apikey_changelist"), reverse("admin:billing_user_changelist")):
        (group,) = client.get(path).context["sidebar_navigation"]
        assert [item["title"] for item in group["items"] if item["active"]] == ["Customers"]


def test_pages_of_a_place_are_its_tabs(signed_in: Callable[[str], Client]) -> None:
    page = signed_in("support").get(reverse("admin:billing_user_changelist")).content.decode()
    tabs = page[page.index('id="tabs-items"') :]
    assert reverse("admin:billing_apikey_changelist") in tabs[: tabs.index("</nav>")]


def test_every_list_is_in_navigation_once() -> None:
    links = [str(item["link"]) for item in sidebar.items()]
    assert len(links) == len(set(links))
    lists = {page_of(model) for model in admin.site._registry if model._meta.app_label not in ELSEWHERE}
    assert lists <= set(links)


# Reached by the menu of one's own account, or by superusers alone.
ELSEWHERE = {"auth", "axes", "account", "mfa", "socialaccount", "django_q"}


@pytest.mark.parametrize("role", roles.ROLES)
def test_palette_finds_every_page_by_its_name(role: str, rf: RequestFactory, settings: LazySettings) -> None:
    settings.PALETTE = ()
    request = rf.get("/admin/")
    request.user = factories.staff(role)
    for item in sidebar.items():
        found = {hit.link for hit in find(request, item["title"].lower())}
        assert (str(item["link"]) in found) == item["permission"](request), item["title"]


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("wrong now", "Current alerts"),
        ("users", "Customers"),
        ("map", "Plan prices"),
        ("dead", "Failed events"),
        ("rest", "Backups"),
        ("run rollup", "Run job rollup"),
        ("reconcile", "Run job reconcile"),
    ],
)
def test_palette_knows_other_words_and_commands(typed: str, title: str, signed_in: Callable[[str], Client]) -> None:
    assert title in dict(palette(signed_in("operator"), typed))


def test_palette_offers_no_job_to_who_may_not_run_it_and_says_when_nothing_is_found(
    signed_in: Callable[[str], Client],
) -> None:
    support = signed_in("support")
    assert "Run job rollup" not in dict(palette(support, "run rollup"))
    assert palette(support, "zzzzzz") == [("Nothing found", "#")]
