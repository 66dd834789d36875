"""The API keeps to its OpenAPI document, whatever is sent that the document describes, or nearly describes."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from billing.keys import cache as key_cache
from tests.support.factories import issued_key

pytestmark = pytest.mark.django_db
TOKEN = "gateway-token-0123456789-0123456789"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(autouse=True)
def _served(settings: Any) -> Iterator[None]:
    """The application answers within the test's transaction, as Django's own test client does."""
    settings.API_SERVICE_TOKENS = {"gateway": TOKEN}
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    key_cache.verified_keys.clear()


def reaching_the_database(body: Any, good: dict[str, Any]) -> Any:
    """The body with a good request in front, and with its key wherever the others name one."""
    if not (isinstance(body, dict) and isinstance(body.get("requests"), list)):
        return body
    rows = [
        row | {"api_key_id": good["api_key_id"]} if isinstance(row, dict) and "api_key_id" in row else row
        for row in body["requests"]
    ]
    return body | {"requests": [good, *rows]}


@pytest.mark.parametrize("path", ["/api/v1/keys/authenticate", "/api/v1/keys/{api_key_id}/rate-limit", "/api/v1/usage"])
def test_every_answer_is_one_that_the_document_describes(path: str) -> None:
    operation = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())[path]["POST"]
    good = {
        "api_key_id": str(issued_key().key.pk),
        "endpoint": "/v1/glyphs",
        "method": "GET",
        "status_code": 200,
        "response_time_ms": 12,
    }

    @settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        case=st.one_of(
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
        ),
        reaching=st.booleans(),
    )
    def answers(case: schemathesis.Case, reaching: bool) -> None:
        if reaching:
            case.body = reaching_the_database(case.body, good)
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)

    answers()
