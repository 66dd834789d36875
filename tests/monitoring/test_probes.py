"""/healthz and /readyz."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from monitoring.models import WorkerHeartbeat


def beat() -> None:
    WorkerHeartbeat.objects.create(host="web1", pid=1, cluster_pid=1, role="pusher")


def test_process_is_up_without_asking_the_database(client: Client) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-cache" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_read_only(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("host", ["10.0.0.7", "10.0.0.7:8000", "[fd00::1]", "evil.example", "a b<script>", ""])
@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503), ("/metrics", 403)])
@pytest.mark.django_db
def test_probes_are_answered_whatever_the_host_and_do_not_repeat_it(
    client: Client, path: str, status: int, host: str
) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == status
    assert not host or host not in answer.content.decode() + str(answer.headers)
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz/", "/healthz/x", "//healthz", "/metrics/", "/admin/login/", "/webhooks/stripe/", "/api/v1/usage"],
)
def test_nothing_else_is_answered_under_another_host(client: Client, path: str) -> None:
    answer = client.get(path, headers={"host": "evil.example"})
    assert (answer.status_code, b"evil.example" in answer.content) == (400, False)


@pytest.mark.django_db
class TestReady:
    def test_everything_in_place(self, client: Client) -> None:
        beat()
        response = client.get("/readyz")
        assert (response.status_code, response.json()) == (
            200,
            {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "worker": "ok"}},
        )

    def test_second_probe_reads_no_migrations(self, client: Client, django_assert_max_num_queries: Any) -> None:
        beat()
        client.get("/readyz")
        with django_assert_max_num_queries(8):
            client.get("/readyz")

    def test_worker_never_seen(self, client: Client) -> None:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"]["worker"] == "no worker has given a sign of life"

    def test_worker_silent(self, client: Client) -> None:
        beat()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE worker_heartbeats SET seen_at = now() - interval '10 minutes'")
        assert client.get("/readyz").json()["checks"]["worker"].startswith("no sign of life for 6")

    def test_migration_missing(self, client: Client) -> None:
        beat()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = 'monitoring' AND name LIKE '0001%'")
        response = client.get("/readyz")
        assert response.status_code == 503
        assert "not applied" in response.json()["checks"]["migrations"]

    def test_database_away(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object) -> None:
            raise OperationalError("connection to server at 10.0.0.7 failed")

        with monkeypatch.context() as patch:
            patch.setattr(connection, "cursor", refuse)
            response = client.get("/readyz")
        assert response.status_code == 503
        away = "not asked: the database does not answer"
        assert response.json()["checks"] == {
            "database": "database error (OperationalError)",
            "migrations": away,
            "worker": away,
        }
