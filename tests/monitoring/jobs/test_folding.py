"""The job `rollup` folds for as long as much comes in."""

import pytest

from monitoring.jobs import runner
from monitoring.jobs.functions import folding
from monitoring.jobs.outcome import JobFailed
from monitoring.models import JobRun
from tests.support import factories
from tests.support.sql import one, query

pytestmark = pytest.mark.django_db


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty requests that wait; five in a pass are much here."""
    monkeypatch.setattr(folding, "LITTLE", 5)
    monkeypatch.setattr(folding, "PAUSE_SECONDS", 0)
    factories.forget_older_requests()
    factories.requests(factories.customer(), 30)


def test_it_goes_on_until_a_pass_finds_little(requests: None) -> None:
    outcome = folding.fold_until_caught_up()
    assert outcome.rows == 60
    assert outcome.detail["passes"] == 2
    assert {name: outcome.detail[name]["rows"] for name in ("roll_up_usage", "fold_traffic")} == {
        "roll_up_usage": 30,
        "fold_traffic": 30,
    }


def test_it_ends_when_the_next_run_is_due(requests: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "LONGEST_SECONDS", -1)
    assert folding.fold_until_caught_up().detail["passes"] == 1


def test_failure_ends_it_and_what_was_folded_stays(requests: None) -> None:
    query(
        """
        CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'poisoned';
        END $$;
        CREATE TRIGGER poisoned BEFORE INSERT ON traffic_days FOR EACH ROW EXECUTE FUNCTION poisoned();
        SELECT 1
        """
    )
    with pytest.raises(JobFailed, match="fold_traffic: 30 left out") as failed:
        folding.fold_until_caught_up()
    assert failed.value.outcome.detail["passes"] == 1
    assert one("SELECT sum(total_requests) AS n FROM monthly_usage_totals")["n"] == 30


def test_its_run_says_what_each_step_did() -> None:
    runner.run("rollup", trigger="manual")
    assert JobRun.objects.get(job="rollup").detail.keys() == {"passes", "roll_up_usage", "fold_traffic"}
