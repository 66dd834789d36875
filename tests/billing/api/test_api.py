"""The HTTP API as an API server sees it."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.keys import authentication, lifecycle
from billing.keys import cache as key_cache
from billing.keys import format as key_format
from billing.models import ApiUsage
from glyphforge.web import brute_force
from glyphforge.web.models import AuthenticationFailure
from tests.support import factories
from tests.support.factories import issued_key
from tests.support.waiting import PATIENCE_SECONDS, wait_for_room

pytestmark = pytest.mark.django_db
TOKEN = "gateway-token-0123456789-0123456789"


@pytest.fixture(autouse=True)
def _configured(settings: Any) -> Iterator[None]:
    settings.API_SERVICE_TOKENS = {"gateway-1": "another-token-0123456789-0123456789", "gateway-2": TOKEN}
    key_cache.verified_keys.clear()
    yield
    key_cache.verified_keys.clear()


def call(path: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    response = Client().post(f"/api/v1/{path}", data, content_type="application/json", headers=headers)
    return response.status_code, response.json()


def one(key_id: UUID, **values: Any) -> dict[str, Any]:
    return {
        "api_key_id": str(key_id),
        "endpoint": "/v1/glyphs",
        "method": "GET",
        "status_code": 200,
        "response_time_ms": 12,
    } | values


# --- Who may call ---------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1]])
@pytest.mark.parametrize(
    "path", ["keys/authenticate", f"keys/{UUID(int=7)}/rate-limit", f"keys/{UUID(int=7)}/rate-limit/lease", "usage"]
)
def test_nothing_answers_without_a_service_token(path: str, token: str | None) -> None:
    status, body = call(path, {}, token=token)
    assert status == 401
    assert body == {"error": "A valid service token is needed: Authorization: Bearer …", "fields": []}


def test_without_configured_tokens_nobody_is_let_in(settings: Any) -> None:
    settings.API_SERVICE_TOKENS = {}
    assert call("usage", {}, token="")[0] == 401
    assert call("usage", {})[0] == 401


def test_guessing_service_tokens_is_counted_and_stopped() -> None:
    wait_for_room(brute_force.WINDOW.total_seconds(), 20)  # one that ended in between would count anew
    for number in range(brute_force.LIMIT):
        assert call("usage", {}, token=f"guess-{number}")[0] == 401
    assert call("usage", {}, token="guess-again")[0] == 429
    assert call("keys/authenticate", {"key": "x"})[0] == 200  # who holds a token is not locked out with the guesser
    failures = AuthenticationFailure.objects.get()
    assert (failures.kind, failures.failures, failures.last_subject) == ("service_token", brute_force.LIMIT, None)


def test_a_session_of_staff_opens_nothing_here(admin_client: Client) -> None:
    assert admin_client.post("/api/v1/usage", "{}", content_type="application/json").status_code == 401


# --- Authenticate ---------------------------------------------------------------------------------


def test_a_good_key_says_whose_it_is() -> None:
    issued = issued_key(expires_at=timezone.now() + timedelta(days=1))
    status, body = call("keys/authenticate", {"key": issued.raw_key, "client_address": "203.0.113.9"})
    assert status == 200
    assert body == {
        "valid": True,
        "outcome": "ok",
        "api_key_id": str(issued.key.pk),
        "user_id": str(issued.key.user_id),
        "environment": "production",
        "expires_at": body["expires_at"],
    }
    assert body["expires_at"].endswith("Z")


def test_a_key_that_proves_nothing_learns_nothing() -> None:
    unknown = key_format.generate("production")
    for key, outcome in ((unknown, "unknown"), (unknown[:-1], "malformed")):
        _, body = call("keys/authenticate", {"key": key})
        assert body == {
            "valid": False,
            "outcome": outcome,
            "api_key_id": None,
            "user_id": None,
            "environment": None,
            "expires_at": None,
        }


def test_a_revoked_key_is_refused_by_name() -> None:
    issued = issued_key()
    lifecycle.revoke(issued.key, actor="ada", reason="lost")
    _, body = call("keys/authenticate", {"key": issued.raw_key})
    assert (body["valid"], body["outcome"], body["api_key_id"]) == (False, "revoked", str(issued.key.pk))


def test_an_address_that_guesses_keys_is_stopped() -> None:
    for _ in range(brute_force.LIMIT):
        call("keys/authenticate", {"key": key_format.generate("production"), "client_address": "2001:db8::1"})
    _, body = call("keys/authenticate", {"key": issued_key().raw_key, "client_address": "2001:db8::1"})
    assert (body["valid"], body["outcome"]) == (False, "stopped")


def test_a_remembered_key_costs_no_query(
    django_assert_num_queries: DjangoAssertNumQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "ROW_SECONDS", PATIENCE_SECONDS)  # the row is not read again meanwhile
    raw_key = issued_key().raw_key
    call("keys/authenticate", {"key": raw_key})
    with django_assert_num_queries(0):
        assert call("keys/authenticate", {"key": raw_key})[1]["valid"]


# --- Rate limit -----------------------------------------------------------------------------------


def test_requests_are_counted_against_the_plan(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    issued = issued_key()
    wait_for_room(60, 10)  # a window that ended in between would count anew
    with django_assert_num_queries(1):
        status, first = call(f"keys/{issued.key.pk}/rate-limit")
    second = call(f"keys/{issued.key.pk}/rate-limit")[1]
    assert (status, first["allowed"], first["reason"]) == (200, True, "ok")
    assert second["remaining"] == first["remaining"] - 1


def test_an_unknown_key_is_refused_with_its_reason() -> None:
    assert call(f"keys/{uuid4()}/rate-limit") == (
        200,
        {"allowed": False, "remaining": 0, "reset_at": None, "reason": "key"},
    )


# --- Usage ----------------------------------------------------------------------------------------


def test_a_batch_is_recorded_and_sending_it_again_is_harmless(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    issued = issued_key()
    batch = {"requests": [one(issued.key.pk, request_id=f"r{number}", ip_address="::1") for number in range(100)]}
    with django_assert_max_num_queries(8):
        assert call("usage", batch) == (200, {"recorded": 100, "duplicates": 0})
    assert call("usage", batch) == (200, {"recorded": 0, "duplicates": 100})
    assert ApiUsage.objects.filter(user_id=issued.key.user_id).count() == 100


def test_secrets_in_an_error_message_are_not_stored() -> None:
    issued = issued_key()
    call("usage", {"requests": [one(issued.key.pk, error_message=f"bad key {issued.raw_key}")]})
    assert ApiUsage.objects.get().error_message == f"bad key {issued.key.key_prefix}…[masked]"


def test_good_requests_are_recorded_and_bad_ones_come_back_by_index() -> None:
    issued, unknown = issued_key(), uuid4()
    batch = {
        "requests": [
            one(issued.key.pk, request_id="a"),
            one(issued.key.pk, request_id="b", status_code=99),
            one(unknown, request_id="c"),
            one(issued.key.pk, request_id="d", error_message=None, request_bytes="", created_at=""),
            None,
            one(issued.key.pk, request_id="a"),
            one(issued.key.pk, request_id="a", endpoint="/v1/other"),
        ]
    }
    status, body = call("usage", batch)
    assert status == 207
    rows = body.pop("rows")
    assert body == {"recorded": 2, "duplicates": 1, "conflicts": 1, "refused": 3}
    assert [row["index"] for row in rows] == list(range(7))
    assert [(row["status"], row["error"]) for row in rows] == [
        ("recorded", None),
        ("refused", "status_code: Input should be greater than or equal to 100"),
        ("refused", f"There is no API key {unknown}."),
        ("recorded", None),
        ("refused", "body: Input should be a valid dictionary or instance of RequestIn"),
        ("duplicate", None),
        ("conflict", "Its request_id was recorded before, for another request."),
    ]
    again = call("usage", batch)[1]
    assert (again["recorded"], again["duplicates"]) == (0, 3)
    assert ApiUsage.objects.count() == 2


def test_what_the_database_refuses_stops_no_other() -> None:
    key_id = issued_key().key.pk
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE api_usage ADD CONSTRAINT no_teapots CHECK (status_code <> 418)")
    batch = [one(key_id, status_code=418 if number == 40 else 200) for number in range(100)]
    status, body = call("usage", {"requests": batch})
    assert (status, body["recorded"], body["refused"]) == (207, 99, 1)
    assert (body["rows"][40]["status"], "no_teapots" in body["rows"][40]["error"]) == ("refused", True)


@pytest.mark.parametrize(
    "name", ["request_bytes", "response_bytes", "ip_address", "error_message", "request_id", "created_at"]
)
@pytest.mark.parametrize("value", [None, ""])
def test_optional_fields_take_null_and_nothing(name: str, value: Any) -> None:
    assert call("usage", {"requests": [one(factories.api_key().pk, **{name: value})]}) == (
        200,
        {"recorded": 1, "duplicates": 0},
    )
    assert call("keys/authenticate", {"key": "x", "client_address": value})[0] == 200


def test_number_of_any_length_refuses_its_own_request_only() -> None:
    body = json.dumps({"requests": [one(issued_key().key.pk), one(uuid4(), response_time_ms="HUGE")]})
    status, answer = call("usage", body.replace('"HUGE"', "9" * 5000))
    assert (status, answer["recorded"], answer["refused"]) == (207, 1, 1)
    assert "response_time_ms: Input should be a finite number" in answer["rows"][1]["error"]


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"status_code": 99}, "status_code", "greater than or equal to 100"),
        ({"status_code": "nonsense"}, "status_code", "valid integer"),
        ({"response_time_ms": -1}, "response_time_ms", "greater than or equal to 0"),
        ({"request_bytes": 2**31}, "request_bytes", "less than or equal to 2147483647"),
        ({"ip_address": "nowhere"}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"method": "get it"}, "method", "should match pattern"),
        ({"endpoint": ""}, "endpoint", "at least 1 character"),
        ({"endpoint": "a\x00b"}, "endpoint", "must not contain NUL"),
        ({"created_at": "2020-01-01T00:00:00Z"}, "created_at", "within the last 31 days"),
        ({"created_at": "2999-01-01T00:00:00Z"}, "created_at", "not in the future"),
        ({"created_at": "2026-01-01T00:00:00"}, "created_at", "timezone"),
        ({"created_at": "9999-12-31T23:59:59-23:59"}, "created_at", "not in the future"),
        ({"created_at": "0001-01-01T00:00:00+23:59"}, "created_at", "within the last 31 days"),
        ({"created_at": 1e300}, "created_at", "valid datetime"),
        ({"created_at": True}, "created_at", "valid datetime"),
        ({"api_key_id": "glyph_sk_live_x"}, "api_key_id", "valid UUID"),
        ({"api_key_id": 7}, "api_key_id", "UUID"),
        ({"status_code": True}, "status_code", "not true or false"),
        ({"status_code": 200.5}, "status_code", "fractional part"),
        ({"response_time_ms": 1e400}, "response_time_ms", "finite number"),
        ({"response_time_ms": 10**30}, "response_time_ms", "less than or equal"),
        ({"endpoint": "\ud800"}, "endpoint", "valid string"),
        ({"error_message": "\ud800"}, "error_message", "valid string"),
        ({"error_message": "a\x00"}, "error_message", "must not contain NUL"),
        ({"error_message": "x" * 2001}, "error_message", "at most 2000 characters"),
        ({"request_id": "\udfff"}, "request_id", "valid string"),
        ({"request_id": "x" * 201}, "request_id", "at most 200 characters"),
        ({"ip_address": "fe80::1%eth0"}, "ip_address", "without a zone"),
        ({"ip_address": False}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"ip_address": 1}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"ip_address": 4294967295}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"ip_address": "10.1"}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"ip_address": "::1\x00"}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"ip_address": "\ud800"}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"ip_address": ["::1"]}, "ip_address", "not a valid IPv4 or IPv6 address"),
        ({"respones_bytes": 1}, "respones_bytes", "not permitted"),
    ],
)
def test_bad_input_names_the_field_and_repeats_nothing(change: dict[str, Any], field: str, problem: str) -> None:
    bad = one(uuid4(), **change)
    status, body = call("usage", {"requests": [bad]})
    assert (status, body["error"]) == (422, "The request is not valid.")
    assert [entry["field"] for entry in body["fields"]] == [f"requests.0.{field}"]
    assert problem in body["fields"][0]["problem"]
    assert set(body["fields"][0]) == {"field", "problem"}

    status, body = call("usage", {"requests": [one(factories.api_key().pk), bad]})
    assert (status, body["recorded"], body["refused"]) == (207, 1, 1)
    assert problem in body["rows"][1]["error"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("{", 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        ("[]", 422, "not valid"),
        ("", 422, "not valid"),
        ({"requests": []}, 422, "not valid"),
        ({"requests": [{}] * 1001}, 422, "not valid"),
        ({"requests": {"0": {}}}, 422, "not valid"),
        ({"requests": None}, 422, "not valid"),
        ({"requests": [{}], "request": []}, 422, "not valid"),
        ("x" * 3_000_000, 413, "too large"),
    ],
    ids=[
        "truncated",
        "bytes",
        "list",
        "empty",
        "no requests",
        "too many",
        "object",
        "null",
        "unknown member",
        "too large",
    ],
)
def test_bad_bodies_are_refused_clearly(body: Any, status: int, error: str) -> None:
    answer = call("usage", body)
    assert answer[0] == status
    assert error in answer[1]["error"]


def test_a_key_in_a_wrong_place_is_not_repeated() -> None:
    raw_key = issued_key().raw_key
    for body in ({"key": [raw_key]}, {"key": raw_key * 10}, {raw_key: 1}, raw_key):
        assert raw_key[22:] not in json.dumps(call("keys/authenticate", body)[1]).replace(raw_key[:22], "")


def test_permits_are_leased_for_seconds(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    issued = issued_key()
    wait_for_room(60, 10)
    with django_assert_num_queries(1):
        status, leased = call(f"keys/{issued.key.pk}/rate-limit/lease", {"permits": 1000})
    assert (status, leased["reason"], leased["expires_at"] is None) == (200, "ok", False)
    assert call(f"keys/{issued.key.pk}/rate-limit/lease", {"permits": 1})[1] == {
        "granted": 0, "expires_at": None, "reason": "rate",
    }  # fmt: skip


@pytest.mark.parametrize("permits", [0, -1, 2**31, 1.5, True, None])
def test_an_impossible_number_of_permits_is_refused_by_name(permits: Any) -> None:
    status, body = call(f"keys/{uuid4()}/rate-limit/lease", {"permits": permits})
    assert (status, body["fields"][0]["field"]) == (422, "permits")


# --- Documentation --------------------------------------------------------------------------------


def test_the_documentation_describes_every_operation(client: Client) -> None:
    document = client.get("/api/v1/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/v1/keys/authenticate",
        "/api/v1/keys/{api_key_id}/rate-limit",
        "/api/v1/keys/{api_key_id}/rate-limit/lease",
        "/api/v1/usage",
    }
    assert document["components"]["securitySchemes"] == {"ServiceToken": {"type": "http", "scheme": "bearer"}}


def test_the_documentation_page_is_served_from_here_alone(client: Client) -> None:
    response = client.get("/api/v1/docs")
    page = response.content.decode()
    assert "ninja/swagger-ui-bundle.js" in page
    assert "//cdn" not in page
    assert "'unsafe" not in response.headers["Content-Security-Policy"]


def test_strangers_keys_are_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: Any, **kwargs: Any) -> None:
        raise authentication.Busy("Ask again.")

    monkeypatch.setattr(authentication, "authenticate", busy)
    response = Client().post(
        "/api/v1/keys/authenticate",
        {"key": "x"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert (response.status_code, response["Retry-After"], response.json()["error"]) == (503, "1", "Ask again.")
