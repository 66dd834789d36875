"""A signed report of a secret scanner revokes what is ours in it, once, and tells of each finding what it is."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from django.conf import LazySettings
from django.http import HttpResponse
from django.test import Client
from django_q.models import OrmQ

from billing.keys import format as key_format
from billing.keys import scanning
from billing.models import ApiKey
from glyphforge.audit.models import AuditEntry
from tests.support import factories

pytestmark = pytest.mark.django_db

PEM = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
SCANNER, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
PLACE = "https://github.example/octocat/hello/blob/1/a.txt"


@pytest.fixture(autouse=True)
def _scanners(tmp_path: Path, settings: LazySettings) -> None:
    listed = [
        {"key_identifier": name, "key": key.public_key().public_bytes(*PEM).decode(), "is_current": True}
        for name, key in (("one", SCANNER), ("rsa", rsa.generate_private_key(65537, 2048)))
    ]
    path = tmp_path / "scanners.json"
    path.write_text(json.dumps({"public_keys": listed}))
    settings.LEAK_SCANNER_KEYS = str(path)


def finding(token: str, **values: Any) -> dict[str, Any]:
    return {"token": token, "type": "glyph_forge_key", "url": PLACE, "source": "content"} | values


def report(
    content: Any, *, key: ec.EllipticCurvePrivateKey = SCANNER, name: str = "one", tail: bytes = b""
) -> HttpResponse:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    signature = base64.b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode()
    headers = {"Github-Public-Key-Identifier": name, "Github-Public-Key-Signature": signature}
    answer: HttpResponse = Client().post(
        "/webhooks/leaked-keys/", body + tail, content_type="application/json", headers=headers
    )
    return answer


def test_key_of_ours_is_revoked_its_owner_told_and_the_rest_labelled() -> None:
    issued, untouched = factories.issued_key(), factories.issued_key()
    unknown = key_format.generate(ApiKey.Environment.PRODUCTION)
    answer = report([finding(issued.raw_key), finding(unknown), finding("AKIA-something")])
    assert [each["label"] for each in answer.json()] == ["true_positive", "false_positive", "false_positive"]
    first = answer.json()[0]
    assert first["token_hash"] == hashlib.sha256(issued.raw_key.encode()).hexdigest()
    assert first["token_type"] == "glyph_forge_key"
    assert issued.raw_key not in answer.content.decode()
    row = ApiKey.objects.get(pk=issued.key.pk)
    assert row.revoked_at is not None
    assert row.revoked_reason == f"Reported as leaked: found at {PLACE} (content)"
    assert ApiKey.objects.get(pk=untouched.key.pk).revoked_at is None
    assert OrmQ.objects.get().task["func"] == "billing.tasks.send_leak_notice"
    entry = AuditEntry.objects.filter(table_name="api_keys", action="update").get()
    assert (entry.actor, entry.actor_kind) == ("secret scanning", "api")


def test_same_report_again_changes_and_mails_nothing() -> None:
    issued = factories.issued_key()
    both = [finding(issued.raw_key), finding(issued.raw_key)]
    answers = [report(both).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert {each["label"] for each in answers[0]} == {"true_positive"}
    assert OrmQ.objects.count() == 1
    assert AuditEntry.objects.filter(table_name="api_keys", action="update").count() == 1


@pytest.mark.parametrize(
    "terms",
    [{"key": OTHER}, {"name": "two"}, {"name": ""}, {"name": "rsa"}, {"tail": b" "}],
    ids=["another's key", "unknown name", "no name", "key of another kind", "changed body"],
)
def test_report_that_is_not_signed_right_changes_nothing(terms: dict[str, Any]) -> None:
    issued = factories.issued_key()
    answer = report([finding(issued.raw_key)], **terms)
    assert answer.status_code == 400
    assert issued.raw_key not in answer.content.decode()
    assert ApiKey.objects.get(pk=issued.key.pk).revoked_at is None


@pytest.mark.parametrize("signature", ["", "%%%", "AAAA", "é"])
def test_odd_signature_is_refused(signature: str) -> None:
    with pytest.raises(scanning.NotAReportError, match="does not fit"):
        scanning.verify(b"[]", "one", signature)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", {}, None, 7, [7], [{}], [{"token": 7}], [finding("x")] * 501, b"[" * 100_000],
)
def test_what_is_no_report_is_refused(content: Any) -> None:
    answer = report(content)
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_odd_findings_break_nothing() -> None:
    issued = factories.issued_key()
    odd = [
        finding("", url=None, source=None, type=None),
        finding("\x00\ud800", type="\x00\ud800"),
        {"token": issued.raw_key, "url": "javascript:alert(1)", "source": "x" * 10_000, "type": {"a": 1}},
    ]
    assert [each["label"] for each in report(odd).json()] == ["false_positive", "false_positive", "true_positive"]
    reason = str(ApiKey.objects.get(pk=issued.key.pk).revoked_reason)
    assert "javascript" not in reason
    assert len(reason) < 200


def test_nobody_may_report_where_no_scanner_is_known(settings: LazySettings) -> None:
    settings.LEAK_SCANNER_KEYS = ""
    assert report([]).status_code == 404


def test_other_methods_and_large_bodies_are_refused() -> None:
    assert Client().get("/webhooks/leaked-keys/").status_code == 405
    assert report(b" " * 1_048_577).status_code == 413
    assert report([]).json() == []
