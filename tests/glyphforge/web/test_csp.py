"""The Content-Security-Policy of each part of the site."""

import pytest
from django.test import Client


def _policy(response: object) -> dict[str, str]:
    header = response.headers["Content-Security-Policy"]
    return dict(directive.strip().split(" ", 1) for directive in header.split(";") if " " in directive.strip())


@pytest.mark.django_db
def test_the_back_office_may_evaluate_but_not_run_inline_scripts(client: Client) -> None:
    policy = _policy(client.get("/admin/login/"))
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["style-src"] == "'self' 'unsafe-inline'"
    assert policy["default-src"] == "'none'"


def test_everything_else_is_strict(client: Client) -> None:
    policy = _policy(client.get("/nowhere/"))
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["default-src"] == "'none'"
