"""What stands for Slack and the mail server, and what the checks would see."""

from collections.abc import Callable, Iterator

import pytest

from monitoring.alerts.observation import Observation
from tests.support import mail_server
from tests.support import slack as slack_server
from tests.support.mail_server import Mailbox
from tests.support.slack import Slack


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
