"""Who may do what is changed by nobody unseen: not on a page, not by a command, not in psql."""

from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client

from glyphforge.audit.models import AuditEntry
from glyphforge.staff import groups
from tests.support import factories
from tests.support.sql import run, scalar

pytestmark = pytest.mark.django_db

Entry = tuple[str, str, str | None, str | None, str | None]
STRONG = "correct horse battery staple"


@pytest.fixture
def victim() -> User:
    return User.objects.create_user("victim", password=STRONG)


class Log:
    """What was written into the audit log since this was made."""

    def __init__(self) -> None:
        self.start = scalar("SELECT max(id) FROM audit_log")

    @property
    def entries(self) -> list[AuditEntry]:
        return list(AuditEntry.objects.filter(id__gt=self.start).order_by("id"))

    def told(self) -> list[tuple[str, str, str, str | None, str | None]]:
        return [(each.table_name, each.action, each.actor, each.actor_kind, each.reason) for each in self.entries]


@pytest.fixture
def admin(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def log(admin: Client, victim: User) -> Log:
    """Made after the accounts of the test."""
    return Log()


class TestPages:
    def test_second_superuser_that_comes_and_goes_leaves_its_rows(self, admin: Client, log: Log) -> None:
        names = {"username": "mallory", "usable_password": "true", "password1": STRONG, "password2": STRONG}
        admin.post("/admin/auth/user/add/", names | {"reason": "a colleague"})
        mallory = User.objects.get(username="mallory")
        page = f"/admin/auth/user/{mallory.pk}"
        joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        everything = {"username": "mallory", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        assert admin.post(f"{page}/change/", joined | everything | {"reason": "holiday cover"}).status_code == 302
        assert admin.post(f"{page}/delete/", {"post": "yes", "reason": "made by mistake"}).status_code == 302
        assert not User.objects.filter(username="mallory").exists()
        assert log.told() == [
            ("auth_user", "insert", "root", "staff", "a colleague"),
            ("auth_user", "update", "root", "staff", "holiday cover"),
            ("auth_user", "delete", "root", "staff", "made by mistake"),
        ]
        assert log.entries[1].new_values is not None
        assert log.entries[1].new_values["is_superuser"] is True

    def test_colleagues_new_password_is_told_and_never_its_hash(self, admin: Client, victim: User, log: Log) -> None:
        page = f"/admin/auth/user/{victim.pk}/password/"
        assert admin.get(page).content.decode().count('name="reason"') == 1
        new = {"password1": STRONG + "!", "password2": STRONG + "!", "usable_password": "true"}
        assert admin.post(page, new | {"reason": "forgot it"}).status_code == 302
        assert log.told() == [("auth_user", "update", "root", "staff", "forgot it")]
        assert log.entries[0].new_values == {"password": "[masked]"}

    def test_own_new_password_is_told(self, victim: User, log: Log) -> None:
        client = Client()
        User.objects.filter(pk=victim.pk).update(is_staff=True)
        client.force_login(victim)
        log = Log()
        new = {"old_password": STRONG, "new_password1": STRONG + "!", "new_password2": STRONG + "!"}
        assert client.post("/admin/password_change/", new).status_code == 302
        assert log.told() == [("auth_user", "update", "victim", "staff", None)]

    def test_wider_role_is_told_by_name(self, admin: Client, log: Log) -> None:
        role = Group.objects.get(name="support")
        refund = Permission.objects.get(codename="refund_payment")
        held = [*role.permissions.values_list("pk", flat=True), refund.pk]
        values = {"name": "support", "permissions": held, "reason": "month's end"}
        assert admin.post(f"/admin/auth/group/{role.pk}/change/", values).status_code == 302
        assert log.told() == [("auth_group_permissions", "insert", "root", "staff", "month's end")]
        told = log.entries[0].new_values or {}
        assert (told["group"], told["permission"]) == ("support", "billing.refund_payment")

    @pytest.mark.parametrize("reason", ["", "ok", "x" * 501])
    def test_nothing_changes_without_a_reason(self, admin: Client, victim: User, log: Log, reason: str) -> None:
        role = Group.objects.get(name="support")
        new = {"username": "eve", "usable_password": "true", "password1": STRONG, "password2": STRONG}
        attempts: dict[str, dict[str, Any]] = {
            "/admin/auth/user/add/": new,
            f"/admin/auth/user/{victim.pk}/change/": {"username": "victim", "is_superuser": "on"},
            f"/admin/auth/user/{victim.pk}/password/": new,
            f"/admin/auth/user/{victim.pk}/delete/": {"post": "yes"},
            f"/admin/auth/group/{role.pk}/change/": {"name": "other"},
            f"/admin/auth/group/{role.pk}/delete/": {"post": "yes"},
        }
        for path, values in attempts.items():
            admin.post(path, values | {"reason": reason})
        assert log.told() == []

    def test_accounts_are_not_deleted_by_the_dozen(self, admin: Client, victim: User, log: Log) -> None:
        values = {"action": "delete_selected", "_selected_action": [victim.pk], "post": "yes", "reason": "all of them"}
        admin.post("/admin/auth/user/", values)
        assert User.objects.filter(pk=victim.pk).exists()

    def test_form_of_deletion_asks_for_the_reason(self, admin: Client, victim: User) -> None:
        page = admin.get(f"/admin/auth/user/{victim.pk}/delete/").content.decode()
        assert 'name="reason"' in page
        assert "victim" in page


class TestOutside:
    def test_createsuperuser_and_psql_are_told(self, log: Log) -> None:
        call_command("createsuperuser", "--noinput", "--username=mallory", "--email=m@example.com", stdout=StringIO())
        run("UPDATE auth_user SET is_superuser = true WHERE username = 'victim'")
        run("UPDATE auth_user SET password = 'x' WHERE username = 'victim'")
        run("DELETE FROM auth_user WHERE username = 'mallory'")
        role = scalar("SELECT session_user::text")
        assert [each[:4] for each in log.told()] == [
            ("auth_user", action, role, "sql") for action in ("insert", "update", "update", "delete")
        ]
        assert {each.db_role for each in log.entries} == {role}

    def test_a_sign_in_is_no_change_of_the_account(self, victim: User, log: Log) -> None:
        run("UPDATE auth_user SET last_login = now()")
        assert log.told() == []

    def test_permission_under_another_name_is_told(self, log: Log) -> None:
        run("UPDATE auth_permission SET codename = 'mine' WHERE codename = 'refund_payment'")
        assert [each[:2] for each in log.told()] == [("auth_permission", "update")]

    def test_roles_of_an_account_are_told_by_name(self, victim: User, log: Log) -> None:
        victim.groups.add(Group.objects.get(name="auditor"))
        victim.user_permissions.add(Permission.objects.get(codename="refund_payment"))
        victim.groups.clear()
        shown = [(each.new_values or each.old_values or {}) for each in log.entries]
        assert [(each["user"], each.get("group"), each.get("permission")) for each in shown] == [
            ("victim", "auditor", None),
            ("victim", None, "billing.refund_payment"),
            ("victim", "auditor", None),
        ]

    def test_factors_are_told_and_never_their_secret(self, victim: User, log: Log) -> None:
        factor = Authenticator.objects.create(user=victim, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
        run("UPDATE mfa_authenticator SET data = jsonb_set(data, '{last_step}', '7'), last_used_at = now()")
        run("UPDATE mfa_authenticator SET data = jsonb_set(data, '{secret}', '\"mine\"')")
        factor.delete()
        assert [each[:2] for each in log.told()] == [
            ("mfa_authenticator", action) for action in ("insert", "update", "delete")
        ]
        assert log.entries[1].new_values == {"data": "[masked]"}
        assert "JBSWY3DPEHPK3PXP" not in str([(each.old_values, each.new_values) for each in log.entries])

    def test_links_of_single_sign_on_are_told(self, victim: User, log: Log) -> None:
        link = SocialAccount.objects.create(user=victim, provider="staff", uid="u-1", extra_data={"email": "v@e.com"})
        link.extra_data = {"email": "w@e.com"}
        link.save()
        link.delete()
        assert [each[:2] for each in log.told()] == [
            ("socialaccount_socialaccount", each) for each in ("insert", "delete")
        ]
        assert "extra_data" not in (log.entries[0].new_values or {})

    def test_roles_of_a_release_are_the_migrations_doing(self, log: Log) -> None:
        Group.objects.get(name="support").permissions.remove(Permission.objects.get(codename="retry_webhookevent"))
        log = Log()
        groups.apply()
        assert [each[1:4] for each in log.told()] == [("insert", "migrate", "system")]

    def test_account_cannot_pass_for_a_program(self, log: Log) -> None:
        run("ALTER TABLE auth_user DISABLE TRIGGER name_not_reserved")  # of before there was one
        client = Client()
        client.force_login(factories.staff("operator", username="stripe", is_superuser=True))
        log = Log()
        names = {"username": "eve", "usable_password": "true", "password1": STRONG, "password2": STRONG}
        client.post("/admin/auth/user/add/", names | {"reason": "in disguise"})
        assert [each[2:4] for each in log.told()] == [("stripe", "staff")]


class TestNames:
    @pytest.mark.parametrize("name", ["stripe", "Single Sign-On", "system:stripe", "job:nightly", "glyphforge_app"])
    def test_nobody_is_called_as_a_program_is(self, admin: Client, victim: User, name: str) -> None:
        names = {"username": name, "usable_password": "true", "password1": STRONG, "password2": STRONG}
        page = admin.post("/admin/auth/user/add/", names | {"reason": "a colleague"}).content.decode()
        assert f"{name} is the name of a program" in page
        with pytest.raises(IntegrityError, match="is the name of a program"), transaction.atomic():
            User.objects.filter(pk=victim.pk).update(username=name)

    def test_account_that_is_called_so_already_can_be_switched_off(self, admin: Client) -> None:
        run("ALTER TABLE auth_user DISABLE TRIGGER name_not_reserved")
        old = User.objects.create_user("stripe", password=STRONG)
        run("ALTER TABLE auth_user ENABLE TRIGGER name_not_reserved")
        joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        values = joined | {"username": "stripe", "reason": "left us"}
        assert admin.post(f"/admin/auth/user/{old.pk}/change/", values).status_code == 302
        assert not User.objects.get(pk=old.pk).is_active

    def test_nothing_of_a_password_is_shown(self, admin: Client, victim: User) -> None:
        auditor = Client()
        auditor.force_login(factories.staff("auditor"))
        for client in (admin, auditor):
            page = client.get(f"/admin/auth/user/{victim.pk}/change/").content.decode()
            assert "victim" in page
            assert victim.password.split("$")[1] not in page  # the salt
