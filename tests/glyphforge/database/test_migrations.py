"""The migrations run up, down to nothing and up again."""

import pytest
from django.core.management import call_command
from django.db import connection

from glyphforge.database import verify


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_migrations_run_down_to_nothing_and_up_again() -> None:
    for app in ("monitoring", "billing", "web", "audit", "database"):
        call_command("migrate", app, "zero", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')"
            " AND relname !~ '^(django_|auth_|djstripe_|axes_|otp_|account_|socialaccount_|mfa_|usersessions_)'"
        )
        assert cursor.fetchall() == []
        cursor.execute(
            "SELECT proname FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS"
            " (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')"
        )
        assert cursor.fetchall() == []
    call_command("migrate", verbosity=0)
    assert [str(difference) for difference in verify.differences()] == []
