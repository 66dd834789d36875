"""Tables in commands: nothing is cut off and nothing is taken for markup. Progress names what is under way."""

import io

import pytest
from rich.table import Table

from glyphforge.observability import terminal
from glyphforge.observability.terminal import print_table
from tests.support.waiting import wait_for

ODD = "Stripe refused it: [/charge] [red]no such [charge]"
LONG = "api_usage_2027_03_" * 40


class Terminal(io.StringIO):
    """Eighty columns, as the environment says below."""

    def isatty(self) -> bool:
        return True


def printed(output: io.StringIO) -> str:
    table = Table("partition", "error")
    table.add_row(LONG, ODD)
    print_table(output, table)
    lines = [line.split("│")[1:3] for line in output.getvalue().splitlines() if line.startswith("│")]
    return "\n".join("".join(cells[column].strip() for cells in lines) for column in (0, 1))


def test_long_and_bracketed_values_are_printed_whole_into_a_file() -> None:
    partition, error = printed(io.StringIO()).splitlines()
    assert partition == LONG
    assert error.replace(" ", "") == ODD.replace(" ", "")


def test_narrow_terminal_folds_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    output = Terminal()
    partition, error = printed(output).splitlines()
    assert partition == LONG
    assert error.replace(" ", "") == ODD.replace(" ", "")
    assert max(len(line) for line in output.getvalue().splitlines() if line.startswith("│")) <= 80


def test_a_step_that_takes_long_is_named_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(terminal, "say", said.append)
    monkeypatch.setattr(terminal, "SECONDS_BETWEEN_LINES", 0.01)
    monkeypatch.setattr(terminal.sys, "stdout", io.StringIO())
    with terminal.progress("Migrating", 3) as advance:
        advance(0, "quick")
        advance(1)
        advance(0, "slow")  # and nothing is called for a minute
        wait_for(lambda: "Migrating: 1 of 3 slow" in said)
        advance(1)
    assert said[-1].startswith("Migrating: 2 of 3 in ")


def test_of_what_has_no_known_end_the_number_so_far_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(terminal, "say", said.append)
    monkeypatch.setattr(terminal.sys, "stdout", io.StringIO())
    with terminal.progress("customers", None) as advance:
        advance(4200)
    assert said[-1].startswith("customers: 4,200 in ")
    bar = Terminal()
    monkeypatch.setattr(terminal.sys, "stdout", bar)
    with terminal.progress("customers", None) as advance:
        advance(4200)
    assert "4200/?" in bar.getvalue()


def test_progress_ends_with_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.sys, "stdout", io.StringIO())
    with pytest.raises(ValueError, match="stop"), terminal.progress("Migrating", 3):
        raise ValueError("stop")
    assert [thread.name for thread in terminal.threading.enumerate() if "tell" in thread.name] == []
