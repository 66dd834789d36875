"""Customers follow the Cognito user pool, played by moto."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import boto3
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from moto import mock_aws

from billing.cognito import pool
from billing.cognito import sync as pool_sync
from billing.cognito.pool import Pool
from billing.models import CognitoSyncCursor, User
from glyphforge.audit.models import AuditEntry
from monitoring.jobs import runner
from tests.support.factories import customer, webhook_event

pytestmark = pytest.mark.django_db


class FakeCognito:
    """The administrator's side of the pool."""

    def __init__(self) -> None:
        self.client = boto3.client("cognito-idp", region_name="us-east-1")
        pool = self.client.create_user_pool(PoolName="customers", UsernameAttributes=["email"])
        self.pool_id = pool["UserPool"]["Id"]

    def add(self, email: str, *, verified: bool = True, **attributes: str) -> str:
        """Returns the new user's sub."""
        given = {"email": email, "email_verified": str(verified).lower()} | attributes
        user = self.client.admin_create_user(
            UserPoolId=self.pool_id,
            Username=email,
            UserAttributes=[{"Name": name, "Value": value} for name, value in given.items()],
        )["User"]
        return next(entry["Value"] for entry in user["Attributes"] if entry["Name"] == "sub")

    def change(self, username: str, **attributes: str) -> None:
        self.client.admin_update_user_attributes(
            UserPoolId=self.pool_id,
            Username=username,
            UserAttributes=[{"Name": name, "Value": value} for name, value in attributes.items()],
        )

    def do(self, operation: str, username: str) -> None:
        getattr(self.client, operation)(UserPoolId=self.pool_id, Username=username)


@pytest.fixture
def cognito(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCognito]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    settings.AWS_REGION = "us-east-1"
    with mock_aws():
        fake = FakeCognito()
        settings.COGNITO_USER_POOL_ID = fake.pool_id
        yield fake


def sync(*arguments: str) -> str:
    out = StringIO()
    call_command("sync_cognito_users", *arguments, stdout=out)
    return out.getvalue()


def test_preview_names_what_apply_then_does(cognito: FakeCognito) -> None:
    sub = cognito.add("ada@example.com", name="Ada")
    preview = sync()
    assert "ada@example.com" in preview
    assert "1 create; --apply does it." in preview
    assert not User.objects.exists()
    assert "1 create." in sync("--apply")
    user = User.objects.get()
    assert (user.cognito_user_id, user.email, user.name, user.status) == (sub, "ada@example.com", "Ada", "active")
    assert user.subscriptions.get().tier == "free"
    assert sync("--apply") == "nothing to do.\n"


def test_a_pass_reads_every_page(cognito: FakeCognito, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PAGE_SIZE", 2)
    for number in range(5):
        cognito.add(f"customer{number}@example.com")
    sync("--apply")
    assert User.objects.count() == 5
    assert not CognitoSyncCursor.objects.exists()


def test_an_interrupted_pass_goes_on_where_it_stopped(cognito: FakeCognito, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PAGE_SIZE", 2)
    for number in range(6):
        cognito.add(f"customer{number}@example.com")
    steps = pool_sync.sync_pool(Pool(cognito.pool_id), apply=True)
    for _ in range(2):
        next(steps)
    steps.close()  # killed after the first page
    assert User.objects.count() == 2
    assert CognitoSyncCursor.objects.get().pages == 1

    asked = []
    original = Pool._call
    monkeypatch.setattr(Pool, "_call", lambda self, *args, **kw: asked.append(kw) or original(self, *args, **kw))
    assert "4 create." in sync("--apply")
    assert all("PaginationToken" in arguments for arguments in asked if "Filter" not in arguments)
    assert User.objects.count() == 6


def test_an_expired_cursor_starts_again(cognito: FakeCognito, monkeypatch: pytest.MonkeyPatch) -> None:
    cognito.add("ada@example.com")
    CognitoSyncCursor.objects.create(pk=cognito.pool_id, page_token="expired", pages=3)
    original = Pool._call

    def call(self: Pool, operation: str, **arguments: Any) -> dict[str, Any]:
        if arguments.get("PaginationToken") == "expired":
            raise pool.StaleTokenError
        return original(self, operation, **arguments)

    monkeypatch.setattr(Pool, "_call", call)
    assert "1 create." in sync("--apply")


def test_changes_in_cognito_are_synced(cognito: FakeCognito) -> None:
    cognito.add("ada@example.com", name="Ada")
    sync("--apply")
    cognito.change("ada@example.com", name="Ada Lovelace", email="ada@lovelace.example")
    assert "1 update." in sync("--apply")
    assert User.objects.values_list("email", "name").get() == ("ada@lovelace.example", "Ada Lovelace")
    entry = AuditEntry.objects.filter(table_name="users", action="update").latest("id")
    assert entry.actor == "cognito"


def test_identity_that_cannot_be_stored_is_left_to_a_person_and_the_others_are_synced(cognito: FakeCognito) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE users ADD CONSTRAINT no_poison CHECK (name <> 'Poison')")
    for address, name in (("a@example.com", "Ada"), ("b@example.com", "Poison"), ("c@example.com", "Cleo")):
        cognito.add(address, name=name)
    said = sync("--apply")
    assert "2 create, 1 error" in said
    assert "no_poison" in said
    assert set(User.objects.values_list("name", flat=True)) == {"Ada", "Cleo"}


def test_disabling_suspends_and_enabling_reactivates(cognito: FakeCognito) -> None:
    cognito.add("ada@example.com")
    sync("--apply")
    cognito.do("admin_disable_user", "ada@example.com")
    assert "1 suspend." in sync("--apply")
    assert User.objects.get().status == "suspended"
    cognito.do("admin_enable_user", "ada@example.com")
    assert "1 reactivate." in sync("--apply")
    assert User.objects.get().status == "active"


def test_a_suspension_by_support_stands(cognito: FakeCognito) -> None:
    cognito.add("ada@example.com")
    sync("--apply")
    User.objects.update(status="suspended")
    assert sync("--apply") == "nothing to do.\n"
    assert User.objects.get().status == "suspended"


def test_a_customer_deleted_in_cognito_is_suspended(cognito: FakeCognito) -> None:
    cognito.add("ada@example.com")
    cognito.add("grace@example.com")
    sync("--apply")
    cognito.do("admin_delete_user", "ada@example.com")
    assert "is no longer in the user pool" in sync("--apply").replace("\n", " ")
    assert dict(User.objects.values_list("email", "status")) == {
        "ada@example.com": "suspended",
        "grace@example.com": "active",
    }


def test_a_customer_deleted_here_meanwhile_stays_deleted(cognito: FakeCognito, monkeypatch: pytest.MonkeyPatch) -> None:
    user = customer(cognito_user_id="sub-gone")
    find = Pool.find

    def while_support_deletes(self: Pool, sub: str) -> object:
        User.objects.filter(pk=user.pk).update(status="deleted")
        return find(self, sub)

    monkeypatch.setattr(Pool, "find", while_support_deletes)
    sync("--apply")
    user.refresh_from_db()
    assert user.status == "deleted"


def test_a_wrong_pool_does_not_suspend_everybody(cognito: FakeCognito, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_sync, "FEW", 2)
    for number in range(3):
        customer(cognito_user_id=f"sub-{number}")
    with pytest.raises(CommandError, match="is it the right pool"):
        sync("--apply")
    assert not User.objects.exclude(status="active").exists()
    assert "3 suspend." in sync("--apply", "--allow-many")


def test_a_verified_address_links_a_customer_without_an_identity(cognito: FakeCognito) -> None:
    user = customer(email="Ada@Example.com", stripe_customer_id="cus_1")
    sub = cognito.add("ada@example.com")
    assert "1 link." in sync("--apply")
    user.refresh_from_db()
    assert (user.cognito_user_id, user.stripe_customer_id) == (sub, "cus_1")


@pytest.mark.parametrize("linked", [True, False])
def test_events_that_waited_for_an_address_or_its_link_are_due(cognito: FakeCognito, linked: bool) -> None:
    sub = cognito.add("ada@example.com" if linked else "new@example.com")
    customer(email="ada@example.com", cognito_user_id=None if linked else sub)
    waits = "Stripe customer cus_2 has the e-mail address of a customer here (ADA@example.com) but names nobody."
    tomorrow = timezone.now() + timedelta(days=1)
    event = webhook_event(last_error=waits, waits_for=["cus_2", "ada@example.com"], next_retry_at=tomorrow)
    other = webhook_event(next_retry_at=timezone.now() + timedelta(days=1))
    sync("--apply")
    event.refresh_from_db()
    other.refresh_from_db()
    assert event.next_retry_at <= timezone.now() < other.next_retry_at


@pytest.mark.parametrize(
    ("values", "verified", "why"),
    [
        ({"cognito_user_id": "another-sub"}, True, "belongs to Cognito user"),
        ({}, False, "has not verified"),
        ({"status": "deleted"}, True, "was deleted"),
    ],
)
def test_an_address_alone_never_takes_a_customer_over(
    cognito: FakeCognito, values: dict[str, Any], verified: bool, why: str
) -> None:
    user = customer(email="ada@example.com", **values)
    cognito.add("ada@example.com", verified=verified)
    output = sync("--apply", "--allow-many")
    assert why.split(maxsplit=1)[0] in output
    assert "1 conflict" in output
    user.refresh_from_db()
    assert user.cognito_user_id == values.get("cognito_user_id")
    assert User.objects.count() == 1


def test_an_address_that_another_customer_has_is_reported(cognito: FakeCognito) -> None:
    cognito.add("ada@example.com")
    sync("--apply")
    customer(email="taken@example.com")
    cognito.change("ada@example.com", email="taken@example.com")
    assert "1 conflict." in sync("--apply")
    assert User.objects.filter(email="ada@example.com").exists()


def test_a_deleted_customer_is_not_revived(cognito: FakeCognito) -> None:
    cognito.add("ada@example.com")
    sync("--apply")
    User.objects.update(status="deleted")
    assert sync("--apply") == "nothing to do.\n"


def test_without_a_pool_or_with_a_wrong_one_the_command_says_so(cognito: FakeCognito, settings: Any) -> None:
    settings.COGNITO_USER_POOL_ID = "us-east-1_nowhere"
    with pytest.raises(
        CommandError, match="Cognito refused list_users on us-east-1_nowhere: ResourceNotFoundException"
    ):
        sync()
    settings.COGNITO_USER_POOL_ID = ""
    with pytest.raises(CommandError, match="COGNITO_USER_POOL_ID is not set"):
        sync()


class TestJob:
    """The same by schedule, where a pool is configured."""

    def test_without_a_pool_it_is_skipped(self, settings: Any) -> None:
        settings.COGNITO_USER_POOL_ID = ""
        result = runner.run("cognito", trigger="manual")
        assert result.message == "cognito: skipped: COGNITO_USER_POOL_ID is not set on this machine"

    def test_it_syncs_the_pool_and_counts_what_it_did(self, cognito: FakeCognito) -> None:
        cognito.add("ada@example.com")
        cognito.add("grace@example.com")
        customer(email="taken@example.com", cognito_user_id="gone")
        customer(email="linus@example.com", cognito_user_id="another")
        cognito.add("linus@example.com")
        result = runner.run("cognito", trigger="manual")
        assert result.run is not None
        assert (result.outcome, result.run.rows_affected) == ("succeeded", 4)
        assert result.run.detail == {"create": 2, "conflict": 1, "suspend": 2}
        assert runner.run("cognito", trigger="manual").run.rows_affected == 0

    def test_what_cognito_refuses_fails_it_and_says_so(self, cognito: FakeCognito, settings: Any) -> None:
        settings.COGNITO_USER_POOL_ID = "us-east-1_nowhere"
        result = runner.run("cognito", trigger="manual")
        assert result.message == (
            "cognito: Cognito refused list_users on us-east-1_nowhere: ResourceNotFoundException."
        )
