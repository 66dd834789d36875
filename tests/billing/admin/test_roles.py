"""Every role on every page and every action, as a table: what it says, and nothing else, is possible."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from glyphforge import roles
from glyphforge.audit.models import AuditEntry
from glyphforge.staff import groups
from tests.support import factories
from tests.support.admin_pages import operations, page_of

pytestmark = pytest.mark.django_db

EVERYBODY = {"support", "billing_lead", "operator"}
ACTIONS: dict[str, set[str]] = {
    "billing.user.note": EVERYBODY,
    "billing.user.create_key": {"support", "billing_lead"},
    "billing.user.sync": EVERYBODY,
    "billing.user.link": {"billing_lead"},
    "billing.user.grant_extra_quota": {"billing_lead"},
    "billing.user.correct_usage": {"billing_lead"},
    "billing.extraquota.end": {"billing_lead"},
    "billing.user.suspend": {"billing_lead", "operator"},
    "billing.user.reactivate": {"billing_lead", "operator"},
    "billing.user.export_data": {"billing_lead"},
    "billing.user.erase": {"billing_lead"},
    "billing.user.hold": {"billing_lead"},
    "billing.user.lift_hold": {"billing_lead"},
    "approval.approval.approve": {"billing_lead"},
    "approval.approval.refuse": {"billing_lead"},
    "billing.user.fix_orphans": EVERYBODY,
    "billing.apikey.rotate": {"support", "billing_lead"},
    "billing.apikey.revoke": EVERYBODY,
    "billing.user.credit": {"billing_lead"},
    "billing.subscription.change_plan": {"billing_lead"},
    "billing.subscription.release_schedule": {"billing_lead"},
    "billing.subscription.extend_trial": {"billing_lead"},
    "billing.subscription.apply_coupon": {"billing_lead"},
    "billing.subscription.remove_coupon": {"billing_lead"},
    "billing.openinvoice.try_now": {"billing_lead"},
    "billing.openinvoice.payment_link": {"support", "billing_lead"},
    "billing.openinvoice.give_until": {"support", "billing_lead"},
    "billing.openinvoice.take_over": {"support", "billing_lead"},
    "billing.openinvoice.mark_paid": {"billing_lead"},
    "billing.openinvoice.void_invoice": {"billing_lead"},
    "billing.openinvoice.mark_uncollectible": {"billing_lead"},
    "billing.subscription.cancel": {"billing_lead"},
    "billing.subscription.resume": {"billing_lead"},
    "billing.subscription.pause_collection": {"billing_lead"},
    "billing.subscription.resume_collection": {"billing_lead"},
    "billing.payment.refund": {"billing_lead"},
    "billing.striperequest.look": EVERYBODY,
    "billing.webhookevent.retry_webhooks": EVERYBODY,
    "billing.webhookevent.replay": EVERYBODY,
    "billing.apikey.report_leaked": EVERYBODY,
    "monitoring.orphanedstripecustomer.fix_orphans": EVERYBODY,
    "monitoring.failedwebhookevent.retry_webhooks": EVERYBODY,
    "billing.replayrun.stop": EVERYBODY,
    "billing.difference.repair": EVERYBODY,
    "billing.difference.move": {"billing_lead"},
    "billing.difference.keep": {"billing_lead"},
    "billing.stripecustomer.make_primary": {"billing_lead"},
    "billing.stripecustomer.unlink": {"billing_lead"},
    "billing.planprice.map_price": {"billing_lead"},
    "billing.planprice.unmap_price": {"billing_lead"},
    "billing.unmatchedcustomer.link": {"billing_lead"},
    "billing.unmatchedcustomer.link_primary": {"billing_lead"},
    "billing.unmatchedcustomer.create_customer": {"billing_lead"},
    "monitoring.alert.acknowledge": EVERYBODY,
    "monitoring.alert.snooze": EVERYBODY,
    "monitoring.alert.reopen": EVERYBODY,
    "monitoring.jobschedule.run": {"operator"},
    "monitoring.jobschedule.reschedule": {"operator"},
    "monitoring.jobschedule.on": {"operator"},
    "monitoring.jobschedule.off": {"operator"},
    "monitoring.databasesession.cancel": {"operator"},
    "monitoring.databasesession.end": {"operator"},
    "monitoring.schemadifference.repair": {"operator"},
    "monitoring.silence.silence": {"operator"},
    "monitoring.silence.end": {"operator"},
    "monitoring.notification.test": {"operator"},
}
# Pages that not every role may open. The others are open to all four.
PAGES = {name.replace("view_", ""): {"billing_lead", "auditor"} for name in roles.FIGURES}
PAGES |= {name.replace("view_", ""): {"operator", "auditor"} for name in roles.STATEMENTS}
MONEY = tuple(
    f"billing.{name}"
    for name in ("refund_payment", "cancel_subscription", "change_plan", "credit_user", "settle_invoice")
)


def pages(*apps: str) -> list[Any]:
    return [model for model in admin.site._registry if model._meta.app_label in apps]


def test_the_table_names_every_action() -> None:
    assert {name for name, _, _ in operations()} == ACTIONS.keys()


@pytest.mark.parametrize("role", roles.ROLES)
def test_role_may_do_what_the_table_says_and_nothing_else(role: str, signed_in: Callable[[str], Client]) -> None:
    client, nobody = signed_in(role), "00000000-0000-0000-0000-000000000000"
    possible = set()
    before = AuditEntry.objects.count()
    for name, model, operation in operations():
        urls = [page_of(model, operation.name, nobody)] if operation.on_one else []
        urls += [page_of(model, f"{operation.name}_all")] if operation.on_all else []
        answers = {client.get(url).status_code for url in urls}
        assert len({status == 403 for status in answers}) == 1, name
        if answers == {403}:
            for url in urls:
                assert client.post(url, {"confirmed": "yes", "reason": "because"}).status_code == 403, name
        else:
            possible.add(name)
    assert possible == {name for name, permitted in ACTIONS.items() if role in permitted}
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize("role", roles.ROLES)
def test_role_opens_the_pages_that_the_table_says(role: str, signed_in: Callable[[str], Client]) -> None:
    client = signed_in(role)
    opened = {
        model._meta.label_lower
        for model in pages("billing", "monitoring", "djstripe")
        if client.get(page_of(model)).status_code == 200
    }
    expected = {
        model._meta.label_lower
        for model in pages("billing", "monitoring", "djstripe")
        if role in PAGES.get(model._meta.label_lower, roles.ROLES.keys())
    }
    assert opened == expected


@pytest.mark.parametrize("role", roles.ROLES)
def test_no_role_adds_edits_or_deletes_a_row_of_billing_by_hand(role: str, signed_in: Callable[[str], Client]) -> None:
    client, user = signed_in(role), factories.customer()
    before = AuditEntry.objects.count()
    for model in pages("billing", "djstripe"):
        assert client.get(page_of(model, "add")).status_code == 403
        assert client.post(page_of(model, "add"), {}).status_code == 403
    assert client.post(page_of(type(user), "delete", user.pk), {"post": "yes"}).status_code == 403
    client.post(page_of(type(user), "change", user.pk), {"email": "mallory@example.com"})
    user.refresh_from_db()
    assert user.email != "mallory@example.com"
    assert AuditEntry.objects.count() == before


def test_nobody_below_billing_lead_moves_money() -> None:
    for role in roles.ROLES:
        held = {
            f"{permission.content_type.app_label}.{permission.codename}"
            for permission in Group.objects.get(name=role).permissions.select_related("content_type")
        }
        assert (held >= set(MONEY)) == (role == "billing_lead")
        assert held.isdisjoint(MONEY) == (role != "billing_lead")


def test_auditor_holds_only_permissions_to_read() -> None:
    names = Group.objects.get(name="auditor").permissions.values_list("codename", flat=True)
    assert names
    # An export writes nothing but its line in the audit log.
    assert all(name.startswith(("view_", "export_")) for name in names)


def test_staff_without_a_group_see_no_customer(client: Client) -> None:
    from django.contrib.auth import get_user_model

    client.force_login(get_user_model().objects.create_user("new", is_staff=True))
    for model in pages("billing", "monitoring"):
        assert client.get(page_of(model)).status_code == 403, model
    assert client.get(page_of(type(factories.customer()), "change", factories.customer().pk)).status_code == 403
    assert client.get(reverse("admin:billing_user_find"), {"q": "customer"}).status_code == 403


def test_every_permission_that_a_role_names_exists() -> None:
    known = {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in Permission.objects.select_related("content_type")
    }
    named = {name for granted in (*roles.ROLES.values(), *roles.WITHOUT.values()) for name in granted}
    missing = {name for name in named if not any(groups._matches(permission, (name,)) for permission in known)}
    assert missing == set()


def test_roles_are_restored_to_the_table() -> None:
    auditor = Group.objects.get(name="auditor")
    auditor.permissions.add(Permission.objects.get(codename="refund_payment"))
    groups.apply()
    assert not auditor.permissions.filter(codename="refund_payment").exists()
