"""The runbook's words on an alert as a page shows them: with this installation's commands and links to its pages."""

import re
import shlex
import sys
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from glyphforge.admin.columns import copyable
from glyphforge.admin.sidebar import link_of
from glyphforge.database.connection import maintenance_alias
from monitoring.alerts import runbook
from monitoring.models import Alert

_PIECE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<page>[^*]+)\*\*|\*(?P<button>[^*]+)\*|\[(?P<text>[^\]]+)\]\([^)]*\)")
_SQL = re.compile(r"(SELECT|ALTER|UPDATE|REINDEX|VACUUM|DROP) ")


def shown(alert: Alert) -> SafeString:
    """What the check means and what to do; what the check itself says where the runbook has nothing of it."""
    entry = runbook.entry(alert.alert_type)
    if entry is None:
        return format_html("{}", alert.remediation)
    job = str(alert.object_id) if alert.object_type == "job" else None
    lines = [_rendered(entry.means, job), _rendered(entry.do, job)]
    if any(_SQL.match(code) for code in re.findall(r"`([^`]+)`", entry.do)):
        lines.append(format_html("SQL is run in {}", copyable(psql())))
    return format_html(
        '<div class="gf-runbook">{}</div>', format_html_join("", "<p>{}</p>", ((line,) for line in lines))
    )


def command(words: str) -> str:
    """A command of `manage.py`, as it is run on this machine."""
    manage = settings.BASE_DIR / "manage.py"
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(manage))} {words}"


def psql() -> str:
    """How psql reaches the database, with the role that may most; it asks for the password."""
    given = connections[maintenance_alias()].get_connection_params()
    options = {"--host": given.get("host"), "--port": given.get("port"), "--username": given.get("user")}
    return shlex.join(["psql", *(f"{name}={value}" for name, value in options.items() if value), str(given["dbname"])])


def _rendered(text: str, job: str | None) -> SafeString:
    pieces: list[Any] = []
    end = 0
    for match in _PIECE.finditer(text):
        pieces += [text[end : match.start()], _piece(match, job)]
        end = match.end()
    return format_html_join("", "{}", ((piece,) for piece in [*pieces, text[end:]]))


def _piece(match: re.Match[str], job: str | None) -> Any:
    if code := match["code"]:
        if code.startswith("manage.py "):
            words = code.removeprefix("manage.py ")
            return copyable(command(words.replace("run_job NAME", f"run_job {job}") if job else words))
        return copyable(code) if _SQL.match(code) else format_html("<code>{}</code>", code)
    if page := match["page"]:
        url = link_of(page)
        return format_html('<a class="gf-link" href="{}">{}</a>', url, page) if url else format_html("<b>{}</b>", page)
    return format_html("<em>{}</em>", match["button"]) if match["button"] else match["text"]
