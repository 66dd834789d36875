"""Logging: one JSON object a line on standard output, with the ids that tie lines together and without secrets."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from logging.handlers import WatchedFileHandler
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from glyphforge import audit
from glyphforge.audit.masking import mask, mask_values

SERVERS = {"qcluster", "worker", "runserver"}

_ids: ContextVar[Mapping[str, str]] = ContextVar("log_ids", default=MappingProxyType({}))


@contextmanager
def log_context(**ids: str) -> Iterator[None]:
    """Put ids, such as `job`, `run` or `event`, on every line logged inside."""
    token = _ids.set({**_ids.get(), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


class Context(logging.Filter):
    """Adds the ids of the moment to each record; never drops one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the request's id and those of `log_context()` as attributes of the record, which JSON lines show."""
        if request_id := audit.current().request_id:
            record.request_id = request_id
        for name, value in _ids.get().items():
            setattr(record, name, value)
        return True


class JsonLines(JsonFormatter):
    """One JSON object a line, secrets masked wherever they stand."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s %(process)d",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """The values of the line, masked by their name and by their form."""
        # What Django attaches for its own handlers says nothing as JSON.
        for name in ("request", "server_time", "taskName"):
            log_data.pop(name, None)
        masked: dict[str, Any] = mask_values(super().process_log_record(log_data))
        return masked


class PlainLines(logging.Formatter):
    """For people at a terminal; secrets are masked here too."""

    def format(self, record: logging.LogRecord) -> str:
        """The line and its traceback, masked by their form alone."""
        return mask(super().format(record))


class LogFile(WatchedFileHandler):
    """The file of LOG_DIR, which logrotate may move away.

    While it cannot be written its lines are on the other handlers only, and standard error says so once: a full disk or
    a folder that is gone stops no request and no job.
    """

    _problem: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, if it can be."""
        known, self._problem = self._problem, None
        try:
            super().emit(record)
        except OSError as error:  # the file cannot be opened
            self._give_up(error)
        if self._problem and self._problem != known:
            sys.stderr.write(f"{self.baseFilename} cannot be written: {self._problem}.\n")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Note what the disk refused; anything else is an error of the program, which logging shows."""
        error = sys.exception()
        if isinstance(error, OSError):
            self._give_up(error)
        else:
            super().handleError(record)

    def _give_up(self, error: OSError) -> None:
        """Let go of the file with what it could not take; the next line opens it anew."""
        self._problem = error.strerror
        with suppress(OSError):
            self.close()


def stream_for(argv: Sequence[str]) -> str:
    """The stream for log lines: standard output for servers, standard error for commands, whose output is their own."""
    is_command = Path(argv[0]).name in {"manage.py", "django-admin"} if argv else False
    return "ext://sys.stderr" if is_command and not SERVERS.intersection(argv[1:2]) else "ext://sys.stdout"


def configuration(*, level: str, plain: bool, folder: Path | None, stream: str) -> dict[str, Any]:
    """The LOGGING setting. With `folder`, lines also go to `glyphforge.log` there, which logrotate may move away."""
    handlers: dict[str, Any] = {
        "stream": {
            "class": "logging.StreamHandler",
            "stream": stream,
            "formatter": "plain" if plain else "json",
            "filters": ["context"],
        }
    }
    if folder:
        handlers["file"] = {
            "class": f"{__name__}.LogFile",
            "filename": str(folder / "glyphforge.log"),
            "formatter": "json",
            "filters": ["context"],
            "delay": True,
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": Context}},
        "formatters": {
            "json": {"()": JsonLines},
            "plain": {"()": PlainLines, "format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        },
        "handlers": handlers,
        "root": {"level": level, "handlers": list(handlers)},
        "loggers": {
            # Its own handlers would print everything twice, and as plain text.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # Each poll and each process start is told at INFO.
            "django-q": {"level": "WARNING"},
        },
    }
