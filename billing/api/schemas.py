"""What the API takes and gives. Nothing that is sent is repeated in an answer."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from socket import AF_INET, AF_INET6, inet_pton
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from billing.keys.authentication import Outcome
from billing.models import ApiKey
from billing.services.usage import Status
from glyphforge.audit.masking import mask

LARGEST_INT = 2**31 - 1
MOST_REQUESTS = 1000
OLDEST = timedelta(days=31)
CLOCK_SKEW = timedelta(minutes=5)
LONGEST_NAME = 100


def _plausible(moment: datetime | None, info: ValidationInfo) -> datetime | None:
    """Beside what the context's `now` returns, which who validates has of the database's clock."""
    if moment is None:
        return None
    context: dict[str, Callable[[], datetime]] = info.context or {}
    now = context["now"]()
    if not now - OLDEST <= moment <= now + CLOCK_SKEW:
        raise ValueError(f"must lie within the last {OLDEST.days} days and not in the future")
    return moment


def _storable(text: str | None) -> str | None:
    if text and "\x00" in text:
        raise ValueError("must not contain NUL characters")
    return text


def _given(value: Any) -> Any:
    """Clients that serialise a structure send "" for what they do not have."""
    return None if value == "" else value


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")  # noqa: TRY004 - pydantic explains ValueErrors only
    return value


def _address(value: Any) -> str | None:
    """An IP address as PostgreSQL's inet takes it: text, and no zone (fe80::1%eth0), which it does not know."""
    if value is None:
        return None
    if isinstance(value, str) and "%" not in value:
        for family in (AF_INET6, AF_INET):
            try:
                inet_pton(family, value)
            except (OSError, ValueError):
                continue
            return value
    raise ValueError("is not a valid IPv4 or IPv6 address: text, without a zone")


Endpoint = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_storable)]
# The lengths are needed: only a bounded text is looked at for lone surrogates.
RequestId = Annotated[str, StringConstraints(max_length=200), AfterValidator(_storable)]
Message = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_storable), AfterValidator(mask)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INT), BeforeValidator(_no_flag)]
Absent = Literal[""] | None
OptionalCount = Annotated[Count | None, BeforeValidator(_given, json_schema_input_type=Count | Absent)]
OptionalAddress = Annotated[
    str | None,
    BeforeValidator(_address),
    BeforeValidator(_given),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}, {"enum": ["", None]}]}
    ),
]


class Strict(BaseModel):
    """Refuses fields it does not know: a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid")


class KeyIn(Strict):
    """A customer's key as it arrived, and where from."""

    key: Annotated[str, StringConstraints(max_length=200), Field(description="The whole key, as the customer sent it.")]
    client_address: Annotated[
        OptionalAddress,
        Field(description="The customer's address. An address with too many wrong keys is stopped for a while."),
    ] = None


class KeyOut(Schema):
    """Whose key it is; `api_key_id` and what follows are null unless the caller holds an issued key."""

    valid: Annotated[bool, Field(description="Whether to serve the request.")]
    outcome: Annotated[
        Outcome,
        Field(
            description="ok; malformed: mistyped or cut off; unknown: never issued; revoked; expired; suspended: the"
            " customer is; stopped: too many wrong keys from this address."
        ),
    ]
    api_key_id: UUID | None = None
    user_id: UUID | None = None
    environment: ApiKey.Environment | None = None
    expires_at: datetime | None = None


class RateLimitOut(Schema):
    """What `check_rate_limit()` decided."""

    allowed: bool
    remaining: Annotated[int, Field(description="Requests left in the tighter of minute and month.")]
    reset_at: Annotated[datetime | None, Field(description="When that window ends.")]
    reason: Annotated[
        Literal["ok", "rate", "quota", "key"],
        Field(description="rate: too many this minute; quota: the month is used up; key: it cannot be used."),
    ]


class LeaseIn(Strict):
    """How many requests a server wants to serve before it asks again."""

    permits: Annotated[int, Field(ge=1, le=LARGEST_INT), BeforeValidator(_no_flag)]


class LeaseOut(Schema):
    """What `lease_rate_limit()` granted."""

    granted: Annotated[int, Field(description="As many as minute and month have room for, counted already.")]
    expires_at: Annotated[
        datetime | None, Field(description="Serve none of them after it, within five seconds; null when none was.")
    ]
    reason: Annotated[
        Literal["ok", "rate", "quota", "key"],
        Field(description="rate: too many this minute; quota: the month is used up; key: it cannot be used."),
    ]


class RequestIn(Strict):
    """One request that an API server has answered. What is optional may be null or empty too."""

    api_key_id: UUID
    endpoint: Endpoint
    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]
    status_code: Annotated[int, Field(ge=100, le=599), BeforeValidator(_no_flag)]
    response_time_ms: Count
    request_bytes: OptionalCount = None
    response_bytes: OptionalCount = None
    ip_address: OptionalAddress = None
    error_message: Annotated[
        Message | None,
        BeforeValidator(_given),
        Field(description="Keys and tokens in it are masked before it is stored."),
    ] = None
    request_id: Annotated[
        RequestId | None,
        BeforeValidator(_given),
        Field(
            description="Recorded once per customer, so that it can be sent again; without it, each time that it is"
            " sent. Make it yourself, a UUID for example: one that your customers choose, or that starts anew with"
            " your server, belongs to another request already, and this one would not be counted."
        ),
    ] = None
    created_at: Annotated[
        AwareDatetime | None,
        AfterValidator(_plausible),
        BeforeValidator(_given, json_schema_input_type=AwareDatetime | Absent),
        Field(description=f"With a time zone, within the last {OLDEST.days} days; now, when left out."),
    ] = None


class UsageIn(Strict):
    """A batch of requests, each recorded or refused by itself."""

    # Validated one by one, so that a bad one is no reason to refuse the others: see `read_rows`.
    requests: Annotated[list[SkipValidation[RequestIn]], Field(min_length=1, max_length=MOST_REQUESTS)]


class UsageOut(Schema):
    """The whole batch is recorded, now or before."""

    recorded: int
    duplicates: Annotated[int, Field(description="Left out: the same request was recorded before.")]


class RowOut(Schema):
    """What became of one request of the batch."""

    index: Annotated[int, Field(description="Its place in `requests`, from 0.")]
    status: Annotated[
        Status,
        Field(
            description="recorded; duplicate: the same request was recorded before; conflict: its request_id was"
            " recorded before for another request, so it is not counted; refused: it cannot be recorded as it is."
        ),
    ]
    error: Annotated[str | None, Field(description="What is wrong with one that was refused or is a conflict.")] = None


class UsageByRowOut(UsageOut):
    """Not all of the batch could be recorded: what became of each request, in the order of the batch.

    Send again what was refused once it is corrected, and nothing else: a request without `request_id` is counted each
    time that it is sent.
    """

    conflicts: int
    refused: int
    rows: list[RowOut]


class Problem(Schema):
    """One field that is wrong."""

    field: str
    problem: str


class ErrorOut(Schema):
    """Why nothing was done."""

    error: str
    fields: list[Problem] = []


def problems(errors: Sequence[Any]) -> list[Problem]:
    """The first 20 of pydantic's errors, by field, never with what was in it: that may be a key."""
    return [
        Problem(
            field=mask(".".join(str(part) for part in error["loc"] if part not in {"body", "path"}))[:LONGEST_NAME]
            or "body",
            problem=error["msg"].removeprefix("Value error, "),
        )
        for error in errors[:20]
    ]
