"""The job `seal`, what of it leaves the house, and the job that finds a forged row."""

import pytest
from django.db import connection

from glyphforge.audit import record, seals
from glyphforge.database import manifest
from monitoring.jobs import runner
from monitoring.models import JobRun
from monitoring.reports.building import build_report
from tests.support.sql import run

pytestmark = pytest.mark.django_db


def test_anchor_of_the_seals_is_in_the_job_the_report_and_beside_the_backup() -> None:
    assert manifest.audit_anchor(connection.cursor(), "default") == ""
    row = record("note", table_name="users")
    assert runner.run("seal", trigger="manual").outcome == "succeeded"
    anchor = seals.anchor()
    assert anchor
    assert anchor.to_id >= row
    assert JobRun.objects.get(job="seal").detail["anchor"] == str(anchor)
    lines = [line for section in build_report().sections for line in section.lines]
    assert seals.anchors_in("\n".join(lines)) == {anchor}
    assert manifest.audit_anchor(connection.cursor(), "default") == str(anchor)


def test_nightly_comparison_fails_for_a_forged_row() -> None:
    row = record("note", table_name="users")
    runner.run("seal", trigger="manual")
    run("SET LOCAL session_replication_role = replica")
    run("UPDATE audit_log SET reason = 'x' WHERE id = %s", row)
    run("SET LOCAL session_replication_role = origin")
    runner.run("verify", trigger="manual")
    assert f"First, row {row}: changed" in (JobRun.objects.get(job="verify").error or "")
