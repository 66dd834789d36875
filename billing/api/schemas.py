"""What the API takes and gives. Nothing that is sent is repeated in an answer."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from django.utils import timezone
from ninja import Schema
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, IPvAnyAddress, StringConstraints

from billing.keys.authentication import Outcome
from billing.models import ApiKey
from glyphforge.audit.masking import mask

LARGEST_INT = 2**31 - 1
MOST_REQUESTS = 1000
OLDEST = timedelta(days=31)
CLOCK_SKEW = timedelta(minutes=5)


def _plausible(moment: datetime) -> datetime:
    now = timezone.now()
    if not now - OLDEST <= moment <= now + CLOCK_SKEW:
        raise ValueError(f"must lie within the last {OLDEST.days} days and not in the future")
    return moment


def _jsonb_safe(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    return text


Text = Annotated[str, AfterValidator(_jsonb_safe)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INT)]


class Strict(Schema):
    """Refuses fields it does not know: a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid")


class KeyIn(Strict):
    """A customer's key as it arrived, and where from."""

    key: Annotated[str, Field(max_length=200, description="The whole key, as the customer sent it.")]
    client_address: Annotated[
        IPvAnyAddress | None,
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


class RequestIn(Strict):
    """One request that an API server has answered."""

    api_key_id: UUID
    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_jsonb_safe)]
    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,16}$")]
    status_code: Annotated[int, Field(ge=100, le=599)]
    response_time_ms: Count
    request_bytes: Count | None = None
    response_bytes: Count | None = None
    ip_address: IPvAnyAddress | None = None
    error_message: Annotated[
        Text | None,
        AfterValidator(lambda text: mask(text) if text else None),
        Field(max_length=2000, description="Keys and tokens in it are masked before it is stored."),
    ] = None
    request_id: Annotated[
        Text | None, Field(max_length=200, description="Recorded once per customer: a batch can be sent again.")
    ] = None
    created_at: Annotated[
        AwareDatetime | None,
        AfterValidator(lambda moment: _plausible(moment) if moment else None),
        Field(description="With a time zone; now, when left out."),
    ] = None


class UsageIn(Strict):
    """A batch, recorded as a whole or not at all."""

    requests: Annotated[list[RequestIn], Field(min_length=1, max_length=MOST_REQUESTS)]


class UsageOut(Schema):
    """What became of the batch."""

    recorded: int
    duplicates: Annotated[int, Field(description="Left out: their request_id was recorded before.")]


class Problem(Schema):
    """One field that is wrong."""

    field: str
    problem: str


class ErrorOut(Schema):
    """Why nothing was done."""

    error: str
    fields: list[Problem] = []
