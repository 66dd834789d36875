"""What stands for Slack and the mail server, and what the checks would see."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from demo.stripe.world import StripeWorld
from monitoring.alerts.observation import Observation
from tests.support import factories, mail_server
from tests.support import slack as slack_server
from tests.support.mail_server import Mailbox
from tests.support.remedies import Scene
from tests.support.slack import Slack
from tests.support.sql import query


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server.serving() as running:
        yield running


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server.serving() as box:
        yield box


@pytest.fixture
def see() -> Callable[..., dict[str, Observation]]:
    """What the checks would see: severities by object."""

    def observations(**severities: str) -> dict[str, Observation]:
        return {
            f"failed_webhooks:{name}": Observation(
                fingerprint=f"failed_webhooks:{name}",
                severity=severity,
                alert_type="failed_webhooks",
                subject=f"invoice.paid {name}",
                message="Failed after 2 attempts: <no plan> claims the price",
                remediation="Map the price, then retry.",
                object_type="webhook_event",
                object_id=name,
            )
            for name, severity in severities.items()
        }

    return observations


@pytest.fixture
def scene(
    world: StripeWorld, settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """What the cases of remedies use: backups in a folder, and no schedule."""
    settings.BACKUP_DIR, settings.SLACK_WEBHOOK_URL, settings.ALERT_EMAIL = str(tmp_path), "", ""
    query("DELETE FROM job_schedules")
    factories.forget_older_requests()
    scene = Scene(world, tmp_path, settings, monkeypatch)
    with scene.sessions:
        yield scene
