"""The privacy desk on the customer's page: exported with a reason, erased by two people."""

import io
import zipfile
from collections.abc import Callable

import pytest
from django.test import Client

from billing import tasks
from billing.models import User
from glyphforge.approval.models import Approval
from glyphforge.audit.models import AuditEntry
from tests.support import personal
from tests.support.admin_pages import CONFIRMED, row_page

pytestmark = pytest.mark.django_db


def test_export_is_downloaded_and_audited(signed_in: Callable[[str], Client]) -> None:
    client, user = signed_in("billing_lead"), personal.planted()
    answer = client.post(row_page(user, "export_data"), CONFIRMED)
    assert answer["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert personal.EMAIL in archive.read("customer.ndjson").decode()
    entry = AuditEntry.objects.get(action="export_customer")
    assert (entry.actor_kind, entry.reason) == ("staff", CONFIRMED["reason"])


def test_one_asks_another_approves_and_the_person_is_gone(signed_in: Callable[[str], Client]) -> None:
    asking, deciding, user = signed_in("billing_lead"), signed_in("billing_lead"), personal.planted()
    shown = asking.post(row_page(user, "erase"), {"previewed": "yes"}).content.decode()
    for said in ("stripe_webhook_events", "cus_zelda", "Cognito holds the user sub-1"):
        assert said in shown
    asking.post(row_page(user, "erase"), CONFIRMED)
    request = Approval.objects.get()
    assert personal.EMAIL not in request.summary
    told = asking.post(row_page(request, "approve"), CONFIRMED, follow=True).content.decode()
    assert "another person has to decide it" in told
    deciding.post(row_page(request, "approve"), CONFIRMED)
    request.refresh_from_db()
    assert request.state == Approval.State.APPROVED
    tasks.erase_customer(str(request.pk))
    assert personal.found(*personal.PLANTED) == set()
    page = deciding.get(row_page(user)).content.decode()
    assert "Erased" in page
    assert row_page(user, "erase") not in page


def test_held_customer_shows_why_and_cannot_be_erased(signed_in: Callable[[str], Client]) -> None:
    client, user = signed_in("billing_lead"), personal.planted()
    client.post(row_page(user, "hold"), {**CONFIRMED, "reason": "case 4711"})
    assert "Legal hold: case 4711" in client.get(row_page(user)).content.decode()
    told = client.post(row_page(user, "erase"), CONFIRMED, follow=True).content.decode()
    assert "A legal hold is on the customer: case 4711" in told
    assert not Approval.objects.exists()
    client.post(row_page(user, "lift_hold"), CONFIRMED)
    assert User.objects.get(pk=user.pk).legal_hold is None
