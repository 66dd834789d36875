"""`manage.py customer`: previews, asks, erases once approved, and erases again what a backup brought back."""

import json
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from billing.models import User
from billing.services.privacy import replaying
from glyphforge.approval import requests
from glyphforge.approval.models import Approval
from glyphforge.errors import Refused
from tests.support import factories, personal
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _backups(tmp_path: Path, settings: LazySettings) -> None:
    settings.BACKUP_DIR = str(tmp_path)


def customer(*arguments: str) -> str:
    out = StringIO()
    call_command("customer", *arguments, stdout=out)
    return out.getvalue()


def answered(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(customer(*arguments, "--json"))
    return found


def test_preview_lists_tables_and_changes_nothing() -> None:
    personal.planted()
    before = personal.found(*personal.PLANTED)
    audited = scalar("SELECT count(*) FROM audit_log")
    shown = customer("erase", personal.EMAIL.upper())
    for said in ("djstripe_charge", "audit_log", "Stripe holds the customer cus_zelda", "--apply"):
        assert said in shown
    rows = answered("erase", "cus_zelda")["rows"]
    assert (rows["users"], rows["api_usage"], rows["customer_notes"]) == (1, 3, 1)
    assert personal.found(*personal.PLANTED) == before
    assert scalar("SELECT count(*) FROM audit_log") == audited


def test_apply_asks_first_and_erases_once_approved(tmp_path: Path) -> None:
    user = personal.planted()
    assert answered("erase", personal.EMAIL, "--apply", "--reason", "asked by letter")["state"] == "asked"
    assert answered("erase", personal.EMAIL, "--apply", "--reason", "asked by letter")["state"] == "asked"
    request = Approval.objects.get()
    requests.approve(request, actor="grace", reason="identity checked")
    assert answered("erase", str(user.pk), "--apply")["state"] == "done"
    assert personal.found(*personal.PLANTED) == set()
    with pytest.raises(CommandError, match="No customer has the address"):
        customer("erase", personal.EMAIL)
    assert stat.S_IMODE((tmp_path / replaying.FILE).stat().st_mode) == 0o600
    assert [each.customer for each in replaying.read(tmp_path / replaying.FILE)] == [str(user.pk)]


def test_what_refuses_is_said() -> None:
    user = factories.customer()
    factories.subscription(user, stripe_subscription_id="sub_live")
    assert "sub_live is active" in customer("erase", str(user.email))
    with pytest.raises(CommandError, match="sub_live is active"):
        customer("erase", str(user.email), "--apply", "--reason", "asked by letter")
    with pytest.raises(CommandError, match="A reason is needed"):
        customer("erase", str(factories.customer().email), "--apply")


def test_export_writes_a_file(tmp_path: Path) -> None:
    user, path = factories.customer(), tmp_path / "out.zip"
    assert "rows about" in customer("export", str(user.email), str(path))
    assert path.exists()
    with pytest.raises(CommandError, match="File exists"):
        customer("export", str(user.email), str(path))


def test_who_comes_back_with_a_backup_is_erased_again(tmp_path: Path) -> None:
    user = personal.planted()
    path = tmp_path / "list.json"
    said = {"customer": str(user.pk), "request": "00000000-0000-4000-8000-0000000000cc", "asked_by": "ada"}
    said |= {"approved_by": "grace", "decided_at": "2026-01-01T00:00:00+00:00"}
    path.write_text(json.dumps([said]))
    # The subscription that ended before the erasure lives in the backup, and so does a hold that was lifted.
    factories.subscription(user)
    run("UPDATE users SET legal_hold = 'case 4711' WHERE id = %s", user.pk)
    assert customer("erase-again", str(path)).startswith("1 of 1 customers would be")
    assert User.objects.get(pk=user.pk).email == personal.EMAIL
    assert answered("erase-again", str(path), "--apply")["applied"] is True
    assert personal.found(*personal.PLANTED) == set()
    assert customer("erase-again", str(path), "--apply").startswith("0 of 1")
    assert Approval.objects.get().state == Approval.State.DONE


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"customer": "x"}]', "[[]]"])
def test_list_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    if text == "{}":
        assert replaying.read(path) == []
        return
    with pytest.raises(Refused, match="no list of erased customers"):
        replaying.read(path)
