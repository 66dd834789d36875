"""The operations, one a path; what they mean is in the services."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from billing.api.schemas import ErrorOut, KeyIn, KeyOut, Problem, RateLimitOut, RequestIn, UsageIn, UsageOut
from billing.api.service_token import ServiceToken
from billing.keys import authentication
from billing.models import ApiKey
from billing.services import rate_limits, usage
from glyphforge.audit.masking import mask
from glyphforge.errors import Refused

ERRORS = {400: ErrorOut, 401: ErrorOut, 413: ErrorOut, 422: ErrorOut, 429: ErrorOut}

api = NinjaAPI(
    title="Glyph Forge billing API",
    version="1",
    description="For API servers: is this key good, may it make one more request, and what did it do. Authenticate with"
    " a service token: `Authorization: Bearer …`.",
    urls_namespace="api-v1",
    auth=ServiceToken(),
)


@api.post("/keys/authenticate", response={200: KeyOut, **ERRORS}, summary="Authenticate a customer's key")
def authenticate(request: HttpRequest, body: KeyIn) -> KeyOut:
    """Say whether a key may be used now. Servers may remember a valid answer for five seconds, not longer."""
    verdict = authentication.authenticate(body.key, source=str(body.client_address) if body.client_address else None)
    valid = verdict.outcome is authentication.Outcome.OK
    if verdict.key is None:
        return KeyOut(valid=valid, outcome=verdict.outcome)
    return KeyOut(
        valid=valid,
        outcome=verdict.outcome,
        api_key_id=verdict.key.pk,
        user_id=verdict.key.user_id,
        environment=ApiKey.Environment(verdict.key.environment),
        expires_at=verdict.key.expires_at,
    )


@api.post("/keys/{api_key_id}/rate-limit", response={200: RateLimitOut, **ERRORS}, summary="Count one request")
def check_rate_limit(request: HttpRequest, api_key_id: UUID) -> rate_limits.Decision:
    """Count one request against the plan's limits per minute and month. A refused request is not counted."""
    return rate_limits.check(api_key_id)


@api.post("/usage", response={200: UsageOut, **ERRORS}, summary="Record answered requests")
def record_usage(request: HttpRequest, body: UsageIn) -> UsageOut:
    """Record up to 1000 requests in one transaction. With a `request_id` each, sending a batch again is safe."""
    batch = [_request(item) for item in body.requests]
    recorded = usage.record_batch(batch)
    return UsageOut(recorded=recorded, duplicates=len(batch) - recorded)


def _request(item: RequestIn) -> usage.Request:
    values: dict[str, Any] = item.model_dump()
    return usage.Request(**values | {"ip_address": str(item.ip_address) if item.ip_address else None})


# --- Errors ---------------------------------------------------------------------------------------


def _answers(error_type: type[Exception]) -> Callable[[Callable[..., tuple[int, ErrorOut]]], None]:
    """Register what an exception becomes."""

    def register(explain: Callable[..., tuple[int, ErrorOut]]) -> None:
        def handler(request: HttpRequest, error: Any) -> HttpResponse:
            status, body = explain(error)
            return api.create_response(request, body.dict(), status=status)

        api.add_exception_handler(error_type, handler)

    return register


@_answers(AuthenticationError)
def _unauthenticated(error: AuthenticationError) -> tuple[int, ErrorOut]:
    return 401, ErrorOut(error="A valid service token is needed: Authorization: Bearer …")


@_answers(ValidationError)
def _invalid(error: ValidationError) -> tuple[int, ErrorOut]:
    """Names the fields, never what was in them: that may be a key."""
    fields = [
        Problem(
            field=mask(".".join(str(part) for part in problem["loc"] if part not in {"body", "path"})) or "body",
            problem=problem["msg"].removeprefix("Value error, "),
        )
        for problem in error.errors[:20]
    ]
    return 422, ErrorOut(error="The request is not valid.", fields=fields)


@_answers(HttpError)
def _http(error: HttpError) -> tuple[int, ErrorOut]:
    message = "The body is not valid JSON." if error.status_code == 400 else str(error)
    return error.status_code, ErrorOut(error=message)


@_answers(RequestDataTooBig)
def _too_big(error: RequestDataTooBig) -> tuple[int, ErrorOut]:
    return 413, ErrorOut(error="The body is too large; send fewer requests at once.")


@_answers(Refused)
def _refused(error: Refused) -> tuple[int, ErrorOut]:
    return 400, ErrorOut(error=str(error))
