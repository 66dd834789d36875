"""Who was erased since a backup was taken is erased again when it is restored, before anybody uses it."""

from pathlib import Path

from django.db import connections

from billing.models import User
from billing.services.privacy import erasure, replaying
from glyphforge.approval import requests
from glyphforge.database import backup, restore


def erase(user_id: object) -> None:
    request = erasure.ask(User.objects.get(pk=user_id), actor="ada", reason="asked by letter")
    erasure.carry_out(requests.approve(request, actor="grace", reason="identity checked"))


def addresses(alias: str) -> set[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT email FROM users WHERE email IS NOT NULL")
        return {email for (email,) in cursor.fetchall()}


def test_restored_backup_knows_nobody_who_was_erased_since(operated: str, empty: str, tmp_path: Path) -> None:
    with connections[operated].cursor() as cursor:
        cursor.execute(
            "UPDATE users SET email = 'zelda@planted.example' WHERE id = (SELECT min(id::text)::uuid FROM users)"
        )
        cursor.execute("SELECT id FROM users WHERE email = 'zelda@planted.example'")
        (planted,) = cursor.fetchone()
    dump, _ = backup.take(tmp_path / "before.dump", alias=operated)
    assert replaying.read(tmp_path / replaying.FILE) == []
    with replaying.as_default(operated):
        erase(planted)
        replaying.keep(tmp_path)
    assert [each.customer for each in replaying.read(tmp_path / replaying.FILE)] == [str(planted)]
    # The list beside the backup is enough, wherever it is restored: this database knows of nothing.
    restore.restore(dump, into=empty, alias="default")
    with restore.other_database(empty, "default") as target:
        assert len(addresses(target.alias)) == 49
        assert "zelda@planted.example" not in addresses(target.alias)
