"""The process environment, read once, with one clear line for every wrong value."""

import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NoReturn
from urllib.parse import urlsplit

import environ

TRUE_VALUES = {"1", "true", "yes", "on"}
FALSE_VALUES = {"0", "false", "no", "off"}
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
ADDRESS = r"[^@\s,;<>]+@[^@\s,;<>]+"
# What Django matches a request's host with: a name, `.name` for all below it, `*` for any, an IPv6 address in brackets.
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\]")
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "[::1]", "::1"}


def refuse(name: str, problem: str) -> NoReturn:
    """Stop the start of the process with one line that names the variable; never prints a secret's value."""
    raise SystemExit(f"{name}: {problem}")


def assignments(dotenv: Path) -> list[str]:
    """The file's lines `NAME=value`; the first that is anything else, and no comment, stops the start.

    A line that one reader of such files takes otherwise than another is refused too. The message names file and line
    and never shows what stands there, as that may be a secret.
    """
    try:
        lines = dotenv.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SystemExit(f"{dotenv}: is not UTF-8 text") from error
    except OSError as error:
        raise SystemExit(f"{dotenv}: cannot be read: {error.strerror}") from error
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = re.sub(r"^export\s+", "", text).partition("=")
        if problem := _problem(name, equals, value.strip()):
            raise SystemExit(f"{dotenv}: line {number} {problem}")
        if name in found:
            raise SystemExit(f"{dotenv}: line {number} sets {name} again, after line {found[name][0]}")
        found[name] = number, value.strip()
    return [f"{name}={value}" for name, (_, value) in found.items()]


def _problem(name: str, equals: str, value: str) -> str | None:
    """What is wrong with an assignment; None where nothing is."""
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        return "is not NAME=value"
    if "\0" in value:
        return "holds a NUL character"
    quotes = {value[:1], value[-1:]} & {"'", '"'}
    if quotes and (len(value) < 2 or value[0] != value[-1]):
        return "has a quote at one end of its value only"
    if not quotes and re.search(r"\s#", value):
        return "has a comment after its value: give the comment a line of its own, or put the value in quotes"
    return None


class Environment:
    """Reads variables from the environment, then from the `.env` file; the environment wins."""

    def __init__(self, dotenv: Path) -> None:
        self._env = environ.Env()
        # A folder, as Docker mounts for a file that is missing, and a link that leads nowhere are errors too.
        if os.path.lexists(dotenv):
            environ.Env.read_env(StringIO("\n".join(assignments(dotenv))))

    def text(self, name: str, default: str = "") -> str:
        """The value without spaces around it; an empty one counts as unset.

        Read past `Env.str`, which takes a value that begins with a dollar for another variable's name.
        """
        return str(self._env.ENVIRON.get(name, "")).strip() or default

    def texts(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """Comma-separated values, blanks dropped."""
        return [part.strip() for part in self.text(name).split(",") if part.strip()] or list(default)

    def choices(self, name: str, known: tuple[str, ...], default: tuple[str, ...]) -> list[str]:
        """Comma-separated values, each one of `known` and once."""
        found = self.texts(name, default)
        for value in found:
            if value not in known:
                refuse(name, f"{value!r} is not one of {', '.join(known)}")
        return list(dict.fromkeys(found))

    def choice(self, name: str, known: tuple[str, ...], default: str) -> str:
        """One of `known`."""
        value = self.text(name, default)
        if value not in known:
            refuse(name, f"{value!r} is not one of {', '.join(known)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True for 1, true, yes and on, False for 0, false, no and off, in any case; refuses everything else."""
        value = self.text(name)
        if not value:
            return default
        if value.lower() in TRUE_VALUES:
            return True
        if value.lower() in FALSE_VALUES:
            return False
        refuse(name, f"{value!r} is not a yes or no; use true or false")

    def number(self, name: str, default: int, minimum: int) -> int:
        """A whole number of at least `minimum`, written in digits alone."""
        value = self.text(name)
        if not value:
            return default
        if not value.isdecimal() or int(value) < minimum:
            refuse(name, f"{value!r} is not a whole number of at least {minimum}")
        return int(value)

    def pairs(self, name: str, default: dict[str, str]) -> dict[str, str]:
        """Comma-separated name=value pairs. The values may be secrets: a wrong one is not repeated."""
        parts = [part.partition("=") for part in self.texts(name)]
        if not all(key.strip() and value.strip() for key, _, value in parts):
            refuse(name, "must be comma-separated pairs of name=value")
        return {key.strip(): value.strip() for key, _, value in parts} or default

    def required(self, name: str, because: str) -> str:
        """The value; refuses the start without one, and says `because`."""
        return self.text(name) or refuse(name, f"must be set when {because}")

    def hosts(self, name: str, default: tuple[str, ...]) -> list[str]:
        """Comma-separated host names as Django's ALLOWED_HOSTS wants them."""
        found = self.texts(name, default)
        for host in found:
            if not HOST.fullmatch(host):
                refuse(name, f"{host!r} is not a host name; neither scheme, port nor path belong to it")
        return found

    def networks(self, name: str) -> list[IPv4Network | IPv6Network]:
        """Comma-separated networks such as 198.51.100.0/24, or single addresses."""
        found = []
        for text in self.texts(name):
            try:
                found.append(ip_network(text))
            except ValueError:
                refuse(name, f"{text!r} is no network; use 198.51.100.0/24 or 2001:db8::/32")
        return found

    def url(self, name: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
        """An absolute URL without a trailing slash, or the empty string when unset."""
        value = self.text(name).rstrip("/")
        if value:
            try:
                parts = urlsplit(value)
                valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
            except ValueError:
                valid = False
            if not valid:
                refuse(name, f"not a URL that starts with {' or '.join(s + '://' for s in schemes)}")
        return value

    def matching(self, name: str, accepts: str | Callable[[str], bool], rule: str, default: str = "") -> str:
        """A text that `accepts`, a pattern for the whole of it or a function, approves; `default` when unset."""
        value = self.text(name)
        if value and not (re.fullmatch(accepts, value) if isinstance(accepts, str) else accepts(value)):
            refuse(name, f"must be {rule}")
        return value or default

    def folder(self, name: str) -> Path | None:
        """An existing folder that this process may write to, or None when unset."""
        value = self.text(name)
        if not value:
            return None
        if not Path(value).is_dir():
            refuse(name, f"{value!r} is not a folder")
        if not os.access(value, os.W_OK):
            refuse(name, f"{value!r} cannot be written to")
        return Path(value)

    def database(self, name: str) -> dict[str, Any] | None:
        """A PostgreSQL connection for Django's DATABASES, or None when unset."""
        value = self.text(name)
        if not value:
            return None
        if not value.startswith(("postgres://", "postgresql://", "pgsql://")):
            refuse(name, "not a PostgreSQL URL; use postgresql://user:password@host:5432/database")
        try:
            config = dict(self._env.db_url_config(value))
        except Exception as error:  # noqa: BLE001 - django-environ lets any parser error through
            refuse(name, f"cannot be parsed as a PostgreSQL URL ({type(error).__name__})")
        # libpq's spelling for a Unix socket: postgresql://user@/database?host=/run/postgresql
        options = config.get("OPTIONS", {})
        for key, setting in (("host", "HOST"), ("port", "PORT"), ("user", "USER")):
            if key in options:
                config[setting] = options.pop(key)
        if not config.get("NAME"):
            refuse(name, "names no database; use postgresql://user:password@host:5432/database")
        return config

    def email(self, name: str, default: str) -> dict[str, Any]:
        """A mail server's URL, such as smtp+tls://user:password@host:587, as Django's settings EMAIL_*.

        Its password is a secret: a wrong value is not repeated.
        """
        value = self.text(name, default)
        try:
            return dict(self._env.email_url_config(value))
        except Exception as error:  # noqa: BLE001 - django-environ lets any parser error through
            refuse(
                name,
                f"cannot be parsed as an e-mail URL ({type(error).__name__}); use smtp+tls://user:password@host:587",
            )


def persistent_secret(path: Path, variable: str) -> str:
    """The secret stored at `path`, created on first use with mode 0600; safe when two processes start at once.

    Where it can be neither made nor read, the start is refused as for want of `variable`.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=path.parent, encoding="ascii") as draft:  # mode 0600
                draft.write(secrets.token_urlsafe(48))
                draft.flush()
                with suppress(FileExistsError):  # another process was first; its secret counts
                    os.link(draft.name, path)
        return path.read_text(encoding="ascii")
    except OSError as error:
        refuse(variable, f"must be set, as none can be kept in {path}: {error.strerror}")
