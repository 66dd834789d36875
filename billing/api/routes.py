"""The operations, one a path; what they mean is in the services."""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Status
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from pydantic import ValidationError as RowError

from billing.api.schemas import (
    ErrorOut,
    KeyIn,
    KeyOut,
    LeaseIn,
    LeaseOut,
    RateLimitOut,
    RequestIn,
    RowOut,
    UsageByRowOut,
    UsageIn,
    UsageOut,
    problems,
)
from billing.api.service_token import ServiceToken
from billing.keys import authentication
from billing.models import ApiKey
from billing.services import rate_limits, usage
from glyphforge.database.clock import database_time
from glyphforge.errors import Refused

ERRORS = {400: ErrorOut, 401: ErrorOut, 413: ErrorOut, 422: ErrorOut, 429: ErrorOut, 503: ErrorOut}

# More digits than any column takes. Python refuses to read an integer of over 4,300, and with it the whole body.
LONGEST_INT = 40


class _Parser(Parser):
    """Reads JSON in which an integer may be of any length: it is the row that is refused then, not the body."""

    def parse_body(self, request: HttpRequest) -> Any:
        return json.loads(
            request.body, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_INT else float(digits)
        )


api = NinjaAPI(
    title="Glyph Forge billing API",
    version="1",
    description="For API servers: is this key good, may it make one more request, and what did it do. Authenticate with"
    " a service token: `Authorization: Bearer …`.",
    urls_namespace="api-v1",
    auth=ServiceToken(),
    parser=_Parser(),
)


@api.post("/keys/authenticate", response={200: KeyOut, **ERRORS}, summary="Authenticate a customer's key")
def authenticate(request: HttpRequest, body: KeyIn) -> KeyOut:
    """Say whether a key may be used now. Servers may remember a valid answer for five seconds, not longer."""
    verdict = authentication.authenticate(body.key, source=body.client_address)
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


@api.post("/keys/{api_key_id}/rate-limit/lease", response={200: LeaseOut, **ERRORS}, summary="Count requests ahead")
def lease_rate_limit(request: HttpRequest, api_key_id: UUID, body: LeaseIn) -> rate_limits.Lease:
    """Count up to so many requests at once, for a server that serves them by itself during the next seconds.

    What it does not serve stays counted: ask for what is needed until `expires_at`.
    """
    return rate_limits.lease(api_key_id, body.permits)


@api.post("/usage", response={200: UsageOut, 207: UsageByRowOut, **ERRORS}, summary="Record answered requests")
def record_usage(request: HttpRequest, body: UsageIn) -> UsageOut | Status[UsageByRowOut]:
    """Record up to 1000 requests in one transaction, each by itself: one that is refused stops no other.

    200 when all of them are recorded, now or before; 207 with what became of each when some are not; 422 when none can
    be read. With a `request_id` each, sending a batch again is safe; a request without one is counted each time.
    """
    good, bad = _read(body.requests)
    if not good:
        raise ValidationError(
            [error | {"loc": ("requests", index, *error["loc"])} for index, errors in bad.items() for error in errors]
        )
    results = dict(zip(good, usage.record_batch(good.values()), strict=True)) | {
        index: usage.Result(
            usage.Status.REFUSED, "; ".join(f"{wrong.field}: {wrong.problem}" for wrong in problems(errors))
        )
        for index, errors in bad.items()
    }
    counts = Counter(result.status for result in results.values())
    recorded, duplicates = counts[usage.Status.RECORDED], counts[usage.Status.DUPLICATE]
    if recorded + duplicates == len(results):
        return UsageOut(recorded=recorded, duplicates=duplicates)
    rows = [RowOut(index=index, status=each.status, error=each.problem) for index, each in sorted(results.items())]
    conflicts, refused = counts[usage.Status.CONFLICT], counts[usage.Status.REFUSED]
    return Status(
        207,
        UsageByRowOut(recorded=recorded, duplicates=duplicates, conflicts=conflicts, refused=refused, rows=rows),
    )


def _read(rows: list[Any]) -> tuple[dict[int, usage.Request], dict[int, list[Any]]]:
    """The requests that can be recorded, and pydantic's errors of the others, by their places in the batch."""
    good: dict[int, usage.Request] = {}
    bad: dict[int, list[Any]] = {}
    context = {"now": cache(database_time)}  # asked for where a row is dated
    for index, row in enumerate(rows):
        try:
            good[index] = usage.Request(**vars(RequestIn.model_validate(row, context=context)))
        except RowError as error:
            bad[index] = error.errors(include_url=False, include_context=False, include_input=False)
    return good, bad


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
    return 422, ErrorOut(error="The request is not valid.", fields=problems(error.errors))


@_answers(HttpError)
def _http(error: HttpError) -> tuple[int, ErrorOut]:
    message = "The body is not valid JSON." if error.status_code == 400 else str(error)
    return error.status_code, ErrorOut(error=message)


@_answers(RequestDataTooBig)
def _too_big(error: RequestDataTooBig) -> tuple[int, ErrorOut]:
    return 413, ErrorOut(error="The body is too large; send fewer requests at once.")


@api.exception_handler(authentication.Busy)
def _busy(request: HttpRequest, error: authentication.Busy) -> HttpResponse:
    response: HttpResponse = api.create_response(request, ErrorOut(error=str(error)).dict(), status=503)
    response["Retry-After"] = "1"
    return response


@_answers(Refused)
def _refused(error: Refused) -> tuple[int, ErrorOut]:
    return 400, ErrorOut(error=str(error))
