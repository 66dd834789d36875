"""Secrets are planted wherever they come in, and searched for wherever something goes out.

In: keys typed right and wrong, pasted into reasons and names, sent in error messages; passwords, codes, service tokens,
Stripe signatures. Out: log lines, error reports, every page and export of the back office, answers, mails, and every
column of every table.
"""

import json
import logging
import re
from collections.abc import Iterator
from io import StringIO
from itertools import product
from typing import Any

import pytest
from allauth.mfa.totp.internal import auth as totp
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import NoReverseMatch, reverse

from billing import tasks
from billing.keys import authentication, lifecycle
from billing.keys import cache as key_cache
from billing.models import ApiKey
from glyphforge.errors import Refused
from glyphforge.observability import error_reports, logs
from tests.support.factories import customer, issued_key

pytestmark = pytest.mark.django_db
PASSWORD = "planted-password-K7xQ"
WRONG_PASSWORD = "planted-wrong-password-Z3"
SERVICE_TOKEN = "planted-service-token-0123456789abcdef"
STRIPE_KEY = "sk_live_PlantedStripeKey0123456789"
CLIENT_SECRET = "planted-client-secret-98765"
SIGNATURE = "t=1,v1=5eedplantedsignature5eed"


class World:
    """Everything that was planted, and everything that came out."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {
            "password": PASSWORD,
            "wrong password": WRONG_PASSWORD,
            "service token": SERVICE_TOKEN,
            "Stripe key": STRIPE_KEY,
            "client secret": CLIENT_SECRET,
            "signature": SIGNATURE,
        }
        self.out: dict[str, str] = {}

    def plant_key(self, name: str, raw_key: str) -> str:
        """What follows the prefix is the secret part."""
        self.secrets[name] = raw_key[22:]
        return raw_key

    def keep(self, where: str, text: str) -> None:
        self.out[where] = self.out.get(where, "") + text

    def leaks(self) -> set[str]:
        return {
            f"{secret} in {where}"
            for where, text in self.out.items()
            for secret, value in self.secrets.items()
            # Not within a longer number: recovery codes are short.
            if value in text and re.search(rf"(?<![0-9]){re.escape(value)}(?![0-9])", text)
        }


@pytest.fixture
def log_lines() -> Iterator[StringIO]:
    """Everything that is logged, at every level, as production writes it."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def world(settings: Any) -> Iterator[World]:
    settings.API_SERVICE_TOKENS = {"gateway": SERVICE_TOKEN}
    settings.STRIPE_LIVE_SECRET_KEY = STRIPE_KEY
    settings.STAFF_OIDC_CLIENT_SECRET = CLIENT_SECRET
    settings.ALERT_EMAIL = "alerts@example.com"
    key_cache.verified_keys.clear()
    yield World()
    key_cache.verified_keys.clear()


def _use_keys(world: World) -> None:
    user = customer(name="Ada")
    issued = issued_key(user, name="in use")
    world.plant_key("key in use", issued.raw_key)
    world.secrets["hash"] = ApiKey.objects.get().key_hash
    world.keep("repr", repr(issued) + str(issued.key) + repr(issued.key))
    assert authentication.authenticate(issued.raw_key).outcome == "ok"

    for name in ("revoked", "leaked", "pasted"):
        other = issued_key(user, name=name)
        world.plant_key(f"{name} key", other.raw_key)
        if name == "revoked":
            lifecycle.revoke(other.key, actor="ada", reason=f"{other.raw_key} and {STRIPE_KEY} were in a ticket")
        elif name == "leaked":
            lifecycle.report_leaked(other.raw_key, actor="ada", reason=f"somebody posted {other.raw_key}")
            tasks.send_leak_notice(str(other.key.pk))
        else:
            issued_key(user, name=f"copy of {other.raw_key}", reason=f"instead of {other.raw_key}")
        assert authentication.authenticate(other.raw_key).outcome != "ok" or name == "pasted"

    wrong = world.plant_key("wrong key", issued.raw_key[:22] + issued_key(user).raw_key[22:])
    for text in (wrong, wrong[:-3], wrong + "x"):
        authentication.authenticate(text)
        try:
            lifecycle.report_leaked(text, actor="ada", reason="a guess")
        except Refused as refusal:
            world.keep("refusal", str(refusal))


def _call_the_api(world: World) -> None:
    client = Client(raise_request_exception=False)
    issued = issued_key()
    raw_key, key_id = world.plant_key("key over HTTP", issued.raw_key), str(issued.key.pk)
    request = {"api_key_id": key_id, "endpoint": "/x", "method": "GET", "status_code": 401, "response_time_ms": 1}
    for path, body in (
        ("keys/authenticate", {"key": raw_key}),
        ("keys/authenticate", {"key": [raw_key]}),
        ("keys/authenticate", {raw_key: raw_key}),
        (f"keys/{raw_key}/rate-limit", {}),
        ("usage", {"requests": [request | {"error_message": f"refused {raw_key} with {STRIPE_KEY}"}]}),
        ("usage", {"requests": [request | {"status_code": raw_key}]}),
    ):
        for token in (SERVICE_TOKEN, SERVICE_TOKEN[:-1]):
            response = client.post(
                f"/api/v1/{path}",
                json.dumps(body),
                content_type="application/json",
                headers={"Authorization": f"Bearer {token}"},
            )
            world.keep("API answers", response.content.decode())
    client.post("/webhooks/stripe/", b"{}", content_type="application/json", headers={"Stripe-Signature": SIGNATURE})


def _sign_in(world: World) -> Client:
    User.objects.create_superuser("ada", "ada@example.com", PASSWORD)
    client = Client(raise_request_exception=False)
    for password in (WRONG_PASSWORD, PASSWORD):
        client.post("/admin/login/", {"username": "ada", "password": password})
    secret = client.get("/admin/security/set-up/").context["form"].secret
    _, current, _ = totp.yield_hotp_counters_from_time()  # the ones beside it may be over when it arrives
    code = totp.format_hotp_value(totp.hotp_value(secret, current))
    shown_once = client.post("/admin/security/set-up/", {"code": code}, follow=True)
    world.secrets["second factor"] = secret
    world.secrets |= {f"recovery code {index}": code for index, code in enumerate(shown_once.context["unused_codes"])}
    return client


def _visit_every_page(world: World, client: Client) -> int:
    """Lists, details, histories and the search of every registered model; returns how many pages answered."""
    paths = ["/admin/", "/admin/security/", "/admin/search/?s=glyph_sk_live", "/admin/?search=glyph_sk"]
    for model, model_admin in admin.site._registry.items():
        names = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths.append(reverse(f"{names}_changelist"))
        # All rows where keys are random, as there are few; the newest where they are numbers.
        rows = model_admin.get_queryset(_request_of(client)).order_by("-pk")[:10] if model._meta.managed else []
        for row, page in product(rows, ("change", "history")):
            try:
                paths.append(reverse(f"{names}_{page}", args=[row.pk]))
            except NoReverseMatch:
                continue
    visited = 0
    for path in paths:
        response = client.get(path)
        assert response.status_code < 500, path
        if response.status_code == 200:
            visited += 1
            world.keep(path, response.content.decode())
    return visited


def _export_every_list(world: World, client: Client) -> int:
    """The CSV of every list that offers one; returns how many had rows."""
    exported = 0
    for model in admin.site._registry:
        try:
            address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_export_all")
        except NoReverseMatch:
            continue
        answer = client.post(address, {"confirmed": "yes", "reason": "a search for secrets"})
        world.keep(address, answer.getvalue().decode() if answer.streaming else answer.content.decode())
        exported += answer.headers["Content-Type"].startswith("text/csv")  # an empty list says so on a page
    return exported


def _request_of(client: Client) -> Any:
    return client.get("/admin/security/").wsgi_request


def _read_every_table(world: World) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            text = "\n".join(row for (row,) in cursor.fetchall())
            if table == "api_keys":  # the one place of the hash
                text = text.replace(world.secrets["hash"], "")
            world.keep(f"table {table}", text)
    return len(tables)


def _report_an_error(world: World) -> None:
    raw_key = world.plant_key("key in an error", issued_key().raw_key)
    event = {
        "message": f"no plan for {raw_key}",
        "exception": {"values": [{"type": "ValueError", "value": f"bad token {raw_key} {STRIPE_KEY}"}]},
        "request": {"headers": {"Authorization": f"Bearer {SERVICE_TOKEN}", "Stripe-Signature": SIGNATURE}},
        "extra": {"password": PASSWORD, "client_secret": CLIENT_SECRET},
    }
    world.keep("error report", json.dumps(error_reports.scrubbed(event, {})))
    try:
        {}[f"key {raw_key} of {STRIPE_KEY}"]
    except KeyError:
        logging.getLogger("billing").exception("could not use %s", raw_key, extra={"api_key": raw_key})


def test_no_planted_secret_comes_out_anywhere(world: World, log_lines: StringIO) -> None:
    _use_keys(world)
    _call_the_api(world)
    client = _sign_in(world)
    assert _visit_every_page(world, client) > 20
    assert _export_every_list(world, client) >= 5
    _report_an_error(world)
    assert _read_every_table(world) > 60
    world.keep("log", log_lines.getvalue())
    world.keep("mail", "".join(message.subject + message.body for message in mail.outbox))
    assert mail.outbox
    assert "glyph_sk_live_" in world.out["log"]  # prefixes may be seen, so the search has searched something
    assert world.leaks() == set()


def test_the_search_finds_what_leaks() -> None:
    world = World()
    world.keep("a page", f"<p>{PASSWORD}</p>")
    assert world.leaks() == {"password in a page"}
