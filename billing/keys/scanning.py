"""Keys that somebody who scans public places for secrets has found: revoked, and their owners told.

The form is GitHub's, and others use it too:
https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program.
Who may send is a list of public keys, of which `LEAK_SCANNER_KEYS` names the file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings

from billing.keys import authentication, lifecycle
from billing.keys import format as key_format
from glyphforge.audit import acting_as
from glyphforge.errors import Refused
from glyphforge.text import cut, storable

# In one message; GitHub sends what one commit holds.
MOST_FINDINGS = 500
LONGEST_TEXT = 500
ACTOR = "secret scanning"
# Where it was found goes into the reason, and so into mails and pages: an address, and nothing that runs.
_ADDRESS = re.compile(r"https://[!-~]{1,500}")


class NotAReportError(ValueError):
    """The message is not signed by somebody who may send it, or no list of findings; the text may be sent back."""


def verify(body: bytes, identifier: str, signature: str) -> None:
    """Raise NotAReportError unless the body is signed, by ECDSA over SHA-256, with the key of this identifier."""
    key = _keys().get(identifier)
    if key is None:
        raise NotAReportError("the key's identifier is not one of those who may report keys")
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ec.ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature) as error:
        raise NotAReportError("the signature does not fit the body") from error


def receive(body: bytes) -> list[dict[str, str]]:
    """Revoke every key that the report names and that is ours; returns what GitHub wants to be told of each finding.

    A finding of a key of ours is a `true_positive`, also where it was revoked before. Each key is a transaction of its
    own, and its owner is told once. Raises NotAReportError, before anything is done, for what is no list of findings.
    """
    findings = _findings(body)
    with acting_as(actor=ACTOR, kind="api"):
        return [_answer(finding, is_ours=_revoked(finding)) for finding in findings]


def _keys() -> dict[str, ec.EllipticCurvePublicKey]:
    """The public keys by their identifiers, from the file, which is in the form in which GitHub publishes its own."""
    listed = json.loads(Path(settings.LEAK_SCANNER_KEYS).read_text())["public_keys"]
    keys = {each["key_identifier"]: load_pem_public_key(each["key"].encode()) for each in listed}
    return {name: key for name, key in keys.items() if isinstance(key, ec.EllipticCurvePublicKey)}


def _findings(body: bytes) -> list[dict[str, Any]]:
    try:
        findings = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAReportError("the body is not JSON") from error
    if not isinstance(findings, list) or not all(
        isinstance(each, dict) and isinstance(each.get("token"), str) for each in findings
    ):
        raise NotAReportError("the JSON is not a list of findings, each with its token")
    if len(findings) > MOST_FINDINGS:
        raise NotAReportError(f"a report may name {MOST_FINDINGS} keys, not {len(findings)}")
    return findings


def _revoked(finding: dict[str, Any]) -> bool:
    """Whether the finding is a key of ours, which is revoked then."""
    token = finding["token"]
    if not key_format.is_well_formed(token):
        return False
    key = authentication.matching_key(token)
    if key is None:
        return False
    if key.revoked_at is None:
        try:
            lifecycle.report_leaked(token, actor=ACTOR, reason=_place(finding))
        except Refused:
            # Revoked by somebody else meanwhile; whatever else refuses it leaves a key that works.
            key.refresh_from_db(fields=["revoked_at"])
            if key.revoked_at is None:
                raise
    return True


def _place(finding: dict[str, Any]) -> str:
    url, source = str(finding.get("url") or ""), storable(str(finding.get("source") or "unknown"))
    place = url if _ADDRESS.fullmatch(url) else "an address that was not said"
    return cut(f"found at {place} ({cut(source, 50)})", LONGEST_TEXT)


def _answer(finding: dict[str, Any], *, is_ours: bool) -> dict[str, str]:
    return {
        # The hash in place of the key: an answer may be logged.
        "token_hash": hashlib.sha256(finding["token"].encode(errors="replace")).hexdigest(),
        "token_type": cut(storable(str(finding.get("type") or "")), LONGEST_TEXT),
        "label": "true_positive" if is_ours else "false_positive",
    }
