"""/metrics."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from monitoring.models import JobRun
from tests.support import factories

pytestmark = pytest.mark.django_db
TOKEN = "a-token-of-prometheus"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def figures(response: Any) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
@override_settings(METRICS_TOKEN=TOKEN)
def test_without_the_token_nothing_is_told(client: Client, authorization: str) -> None:
    response = client.get("/metrics", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert "glyphforge_" not in response.text


@override_settings(METRICS_TOKEN="")
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, BEARER])
def test_without_a_configured_token_everybody_is_refused(client: Client, headers: dict[str, str]) -> None:
    assert client.get("/metrics", headers=headers).status_code == 403


@override_settings(METRICS_TOKEN=TOKEN)
def test_figures_are_those_of_the_database(client: Client, django_assert_max_num_queries: Any) -> None:
    now = timezone.now()
    factories.webhook_event(status="dead")
    factories.webhook_event(status="pending")
    JobRun.objects.create(job="sync", status="succeeded", finished_at=now)
    factories.alert()
    with django_assert_max_num_queries(19):
        response = client.get("/metrics", headers=BEARER)
    assert response["Content-Type"].startswith("text/plain; version=")
    found = figures(response)
    assert found["glyphforge_webhook_events_unfinished", "dead"] == 1
    assert found["glyphforge_webhook_events_unfinished", "failed"] == 0
    assert found["glyphforge_webhook_events_received_last_hour",] == 2
    assert found["glyphforge_alerts", "critical", "firing"] == 1
    assert found["glyphforge_job_last_success_timestamp_seconds", "sync"] == pytest.approx(now.timestamp(), abs=1)
    assert found["glyphforge_job_failed", "sync"] == 0
    assert found["glyphforge_worker_alive",] == 0
    assert found["glyphforge_api_requests_per_second",] == 0
    assert found["glyphforge_database_size_bytes",] > 1_000_000
    assert found["glyphforge_health", "dead_webhooks"] == 2


@override_settings(METRICS_TOKEN=TOKEN)
def test_every_metric_is_documented(client: Client) -> None:
    text = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text()
    names = {name for name, *_ in figures(client.get("/metrics", headers=BEARER))}
    assert {name for name in names if name not in text} == set()
