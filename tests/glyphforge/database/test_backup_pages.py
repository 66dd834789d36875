"""The page of backups says what was wrong with those that failed."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from glyphforge.database.models import BackupRun
from monitoring.notifications import links

pytestmark = pytest.mark.django_db
LIST = reverse("admin:database_backuprun_changelist")


def test_list_shows_size_outcome_and_error(signed_in: Callable[[str], Client]) -> None:
    values = {"kind": "backup", "started_at": timezone.now() - timedelta(hours=1)}
    BackupRun.objects.create(status="succeeded", file="/b/good.dump", bytes=5 << 20, row_count=1234, **values)
    BackupRun.objects.create(status="failed", file="/b/bad.dump", error="No space left on device", **values)
    operator = signed_in("operator")
    page = operator.get(LIST).content.decode()
    for words in ("/b/good.dump", "5.0\xa0MB", "1,234", "Failed", "No space left on device"):
        assert words in page, words
    assert "/b/good.dump" not in operator.get(LIST, {"status__exact": "failed"}).content.decode()


@pytest.mark.parametrize("check", ["backup_age", "restore_drill_age", "failed_backups"])
def test_checks_lead_there(check: str) -> None:
    assert links.counted(check) == LIST


def test_nobody_changes_the_record(admin_client: Client) -> None:
    run = BackupRun.objects.create(
        kind="drill", status="succeeded", file="a", started_at=timezone.now() - timedelta(hours=1)
    )
    assert admin_client.get(reverse("admin:database_backuprun_change", args=[run.pk])).status_code == 200
    assert admin_client.post(reverse("admin:database_backuprun_delete", args=[run.pk])).status_code == 403
    assert admin_client.get(reverse("admin:database_backuprun_add")).status_code == 403
