"""`manage.py database`: what each action prints, and its exit code."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from glyphforge.database.restore import other_database


def output(capsys: pytest.CaptureFixture[str], *words: str, **options: Any) -> str:
    call_command("database", *words, **options)
    return capsys.readouterr().out


def test_test_says_version_role_and_latency(operated: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = output(capsys, "test", database=operated)
    assert "PostgreSQL" in said
    assert f"as {connections[operated].settings_dict['USER']}" in said
    assert " ms" in said
    found = json.loads(output(capsys, "test", "--json", database=operated))
    assert found["latency_ms"] > 0
    assert found["database"] == connections[operated].settings_dict["NAME"]


@pytest.mark.parametrize("action", ["test", "init", "status", "verify", "backup"])
def test_server_that_is_down_is_one_line(operated: str, action: str, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "x.dump")] if action == "backup" else []
    with other_database("anything", operated) as target:
        target.settings_dict.update(HOST="127.0.0.1", PORT="1")
        with pytest.raises(CommandError, match="onnection") as refused:
            call_command("database", action, *arguments, database=target.alias)
    assert "\n" not in str(refused.value)


def test_status_lists_migrations_sizes_partitions_and_jobs(operated: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(output(capsys, "status", "--json", database=operated))
    assert found["migrations"]["unapplied"] == []
    assert found["migrations"]["applied"] > 50
    tables = {row["table_name"]: row for row in found["tables"]}
    assert tables["api_usage"]["total_bytes"] > 0
    assert not any(name.startswith("api_usage_2") for name in tables), "partitions belong to their parent"
    assert {"api_usage", "audit_log"} <= {row["parent"] for row in found["partitions"]}
    text = output(capsys, "status", database=operated)
    assert "none missing" in text
    assert "Jobs" in text


def test_init_is_idempotent(operated: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 migrations applied" in output(capsys, "init", database=operated)


def test_verify_exits_with_1_and_names_what_differs(operated: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is what the migrations define" in output(capsys, "verify", database=operated)
    with connections[operated].cursor() as cursor:
        cursor.execute("ALTER TABLE users DISABLE TRIGGER default_subscription")
    try:
        with pytest.raises(SystemExit, match="1"):
            call_command("database", "verify", "--json", database=operated)
    finally:
        with connections[operated].cursor() as cursor:
            cursor.execute("ALTER TABLE users ENABLE TRIGGER default_subscription")
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert (difference["problem"], difference["name"]) == ("different", "users.default_subscription")


def test_backup_restore_and_drill_by_command(
    operated: str, empty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "by-command.dump")
    assert "read back in full" in output(capsys, "backup", path, database=operated)
    restored = json.loads(output(capsys, "restore", path, "--into", empty, "--json", database=operated))
    assert restored["rows"] > 100
    assert "can be restored" in output(capsys, "drill", path, database=operated)
    with pytest.raises(CommandError, match="holds"):
        call_command("database", "restore", path, "--into", empty, database=operated)


def test_a_server_that_never_answers_is_given_up(operated: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, other_database("anything", operated) as target:
        options = target.settings_dict["OPTIONS"]
        assert options["connect_timeout"] == 10
        target.settings_dict.update(HOST="127.0.0.1", PORT=str(silent.getsockname()[1]))
        target.settings_dict["OPTIONS"] = options | {"connect_timeout": 1}
        with pytest.raises(CommandError, match="timeout") as given_up:
            call_command("database", "test", database=target.alias)
    assert "\n" not in str(given_up.value)
