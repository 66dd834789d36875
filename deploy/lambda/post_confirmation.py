"""Cognito's post-confirmation trigger: the customer exists here from the moment the sign-up is confirmed.

Cognito waits five seconds for the answer and fails the sign-up otherwise. So nothing is raised: what could not be
stored is logged as an error, and the next `sync_cognito_users` stores it.
"""

import logging
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "glyphforge.settings")
django.setup()

from billing.services.cognito_pool import Identity  # noqa: E402 - needs Django
from billing.services.cognito_users import take_in  # noqa: E402 - needs Django

logger = logging.getLogger("glyphforge.post_confirmation")
SIGN_UP = "PostConfirmation_ConfirmSignUp"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Create, link or update the customer; returns the event, as Cognito demands. A reset password is no sign-up."""
    if event.get("triggerSource") != SIGN_UP:
        return event
    try:
        identity = Identity.from_attributes(event["request"]["userAttributes"])
        step = take_in(identity)
    except Exception:  # a customer must not be kept out by our database
        logger.exception("A confirmed sign-up could not be stored; sync_cognito_users will")
    else:
        logger.info("Cognito user %s: %s, %s", identity.sub, step.action, step.detail)
    return event
