"""Reads the Cognito user pool; the only module that talks to AWS."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from billing.models.user import LONGEST_NAME, is_email
from glyphforge.errors import Refused
from glyphforge.text import cut, storable

PAGE_SIZE = 60  # Cognito's own maximum
# What a filter of Cognito's can hold: https://docs.aws.amazon.com/cognito/latest/developerguide/how-to-manage-user-accounts.html
SUB = re.compile(r"[\w-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Identity:
    """A user of the pool, named by its `sub`, which never changes and is never used again.

    `email` is None, not empty, without an address.
    """

    sub: str
    email: str | None
    email_verified: bool
    name: str
    enabled: bool = True
    confirmed: bool = True

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str], **state: bool) -> "Identity":
        """Read an identity out of Cognito's attributes by their names; KeyError without a `sub`.

        Without a `name`, given and family name make one. An address that is none is left out. `state` may say
        `enabled` and `confirmed`, which are no attributes.
        """
        email = storable(attributes.get("email", "")).strip()
        full_name = " ".join(filter(None, (attributes.get("given_name"), attributes.get("family_name"))))
        return cls(
            sub=attributes["sub"],
            email=email if is_email(email) else None,
            email_verified=attributes.get("email_verified", "").lower() == "true",
            name=cut((attributes.get("name") or full_name).strip(), LONGEST_NAME),
            **state,
        )


@dataclass(frozen=True)
class Page:
    """Up to 60 identities, and the token of the page after it; None after the last."""

    identities: list[Identity]
    next_token: str | None


class Pool:
    """One user pool. Whatever AWS refuses comes out as `Refused`, without request ids or credentials."""

    def __init__(self, pool_id: str) -> None:
        self.pool_id = pool_id
        retries = Config(
            retries={"mode": "standard", "max_attempts": 6},
            connect_timeout=5,
            read_timeout=20,
            user_agent_extra="glyphforge",
        )
        self._client = boto3.client("cognito-idp", region_name=settings.AWS_REGION, config=retries)

    def pages(self, token: str | None = None) -> Iterator[Page]:
        """Yield every page from the token on, from the first without one.

        Raises `StaleTokenError` for a token that Cognito does not know any more, `Refused` for anything else:
        https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
        """
        while True:
            following = {"PaginationToken": token} if token else {}
            answer = self._call("list_users", Limit=PAGE_SIZE, **following)
            token = answer.get("PaginationToken")
            yield Page([_identity(user, user["Attributes"]) for user in answer["Users"]], token)
            if not token:
                return

    def find(self, sub: str) -> Identity | None:
        """Ask for the identity of that sub; None when the pool has none, ValueError for a text that is no sub."""
        if not SUB.fullmatch(sub):
            raise ValueError(f"{sub[:100]!r} is no id of a Cognito user")
        answer = self._call("list_users", Limit=1, Filter=f'sub = "{sub}"')
        found = [_identity(user, user["Attributes"]) for user in answer["Users"]]
        return found[0] if found else None

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(UserPoolId=self.pool_id, **arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "InvalidParameterException" and "PaginationToken" in arguments:
                raise StaleTokenError from error
            raise Refused(f"Cognito refused {operation} on {self.pool_id}: {code}.") from error
        except BotoCoreError as error:
            raise Refused(
                f"Cognito could not be asked ({type(error).__name__}); check AWS_REGION and credentials."
            ) from error
        return answer


class StaleTokenError(Exception):
    """The token of a page has expired: the pass has to start again."""


def _identity(user: dict[str, Any], attributes: list[dict[str, str]]) -> Identity:
    return Identity.from_attributes(
        {attribute["Name"]: attribute.get("Value", "") for attribute in attributes},
        enabled=user["Enabled"],
        confirmed=user["UserStatus"] != "UNCONFIRMED",
    )
