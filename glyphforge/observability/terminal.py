"""Progress for people and for logs: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

SECONDS_BETWEEN_LINES = 5.0
WIDTH_OF_FILES = 200


class Advance(Protocol):
    """Reports that `steps` more are done and, where known, what is being done next."""

    def __call__(self, steps: int, doing: str = "") -> None:
        """`steps` counts those since the last call, not all so far."""


def say(text: str = "") -> None:
    """Print a line at once. A reader who went away is no reason to stop working."""
    with suppress(BrokenPipeError, ValueError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def console(output: Any) -> Console:
    """A console for plain values, which may contain brackets; a file or pipe is wider than most terminals."""
    width = None if output.isatty() else WIDTH_OF_FILES
    return Console(file=cast(IO[str], output), width=width, markup=False, emoji=False, highlight=False)


def print_table(output: Any, table: Table) -> None:
    """Print a table whole: what does not fit goes on in the next line and is never cut off."""
    for column in table.columns:
        column.overflow = "fold"
    console(output).print(table)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Advance]:
    """Show how far a task of `total` steps is, None where nobody knows; call the yielded function with the steps just
    done.
    """
    if sys.stdout is not None and sys.stdout.isatty():
        yield from _bar(title, total)
    else:
        yield from _lines(title, total)


def _bar(title: str, total: int | None) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description:<30}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[doing]}"),
    )
    with Progress(*columns, console=Console(file=sys.stdout)) as bar:
        task = bar.add_task(title, total=total, doing="")
        yield lambda steps, doing="": bar.update(task, advance=steps, doing=doing)


def _lines(title: str, total: int | None) -> Iterator[Advance]:
    """A line every few seconds, of what is under way then: a step may take a minute in which nobody calls."""
    begun = time.monotonic()
    of_total = "" if total is None else f" of {total:,}"
    done, under_way = 0, ""
    ended = threading.Event()

    def advance(steps: int, doing: str = "") -> None:
        nonlocal done, under_way
        done, under_way = done + steps, doing

    def tell() -> None:
        while not ended.wait(SECONDS_BETWEEN_LINES):
            say(f"{title}: {done:,}{of_total} {under_way}".rstrip())

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield advance
    finally:
        ended.set()
        teller.join()
    say(f"{title}: {done:,}{of_total} in {time.monotonic() - begun:.0f} s")
