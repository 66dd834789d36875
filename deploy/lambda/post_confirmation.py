"""Cognito's post-confirmation trigger: the customer exists here from the moment the sign-up is confirmed.

Cognito waits five seconds for the answer and fails the sign-up otherwise. So nothing is raised: what could not be
stored is logged as an error, and the next `sync_cognito_users` stores it.
"""

import logging
from typing import Any

from handler import set_up

logger = logging.getLogger("glyphforge.post_confirmation")
SIGN_UP = "PostConfirmation_ConfirmSignUp"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Create, link or update the customer; returns the event, as Cognito demands. A reset password is no sign-up."""
    if event.get("triggerSource") != SIGN_UP:
        return event
    try:
        outcome = _ingest(event["request"]["userAttributes"])
    except Exception:  # a customer must not be kept out by our database
        logger.exception("A confirmed sign-up could not be stored; sync_cognito_users will")
    else:
        logger.info("Confirmed sign-up: %s", outcome)
    return event


def _ingest(attributes: dict[str, str]) -> str:
    set_up()
    from billing.cognito.pool import Identity  # noqa: PLC0415 - Django must be set up before
    from billing.cognito.sync import ingest  # noqa: PLC0415 - likewise

    step = ingest(Identity.from_attributes(attributes))
    return f"Cognito user {attributes['sub']}: {step.action}, {step.detail}"
