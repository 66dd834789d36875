"""The proxies' files take a request whole, in time and in bounds, and say where it came from."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "proxy"
NGINX, CADDY = ((FOLDER / name).read_text() for name in ("nginx.conf", "Caddyfile"))
# Longer than the web process works at a request before it gives up.
PATIENCE = 75


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


@pytest.mark.parametrize("text", [NGINX, CADDY], ids=["nginx", "Caddy"])
def test_braces_close(text: str) -> None:
    depth = 0
    for line in _lines(re.sub(r"\{[\w.]+\}", "", text)):
        depth += line.count("{") - line.count("}")
        assert depth >= 0, line
    assert depth == 0


def test_every_directive_of_nginx_ends() -> None:
    assert [line for line in _lines(NGINX) if line[-1] not in "{;}"] == []


def test_nginx_buffers_bounds_and_tells_in_every_location() -> None:
    for directive in ("client_header_timeout 10s;", "client_body_timeout 10s;", "client_max_body_size 10m;"):
        assert directive in NGINX
    assert "limit_conn glyphforge_connections" in NGINX
    locations = re.findall(r"location [^{]+\{([^}]*)\}", NGINX)
    assert len(locations) == 2
    for location in locations:
        for directive in (
            "proxy_request_buffering on;",
            f"proxy_read_timeout {PATIENCE}s;",
            "proxy_set_header Host $host;",
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            "proxy_set_header X-Forwarded-Proto $scheme;",
            "proxy_set_header X-Request-ID $request_id;",
        ):
            assert directive in location
    zones = dict(re.findall(r"limit_(\w+)_zone \S+ zone=(\w+):", NGINX))
    assert set(re.findall(r"limit_conn (\w+)|zone=(\w+) burst", NGINX)[0]) - {""} <= set(zones.values())


def test_caddy_buffers_and_bounds() -> None:
    for directive in ("read_header 10s", "read_body 20s", "max_size 10MB", "request_buffers 10MB"):
        assert directive in _lines(CADDY)
    assert f"response_header_timeout {PATIENCE}s" in _lines(CADDY)
    assert "header_up X-Forwarded-For" not in CADDY  # its own are right; one of ours would append the client's
