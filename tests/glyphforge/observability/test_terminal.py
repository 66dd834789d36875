"""Tables in commands: nothing is cut off and nothing is taken for markup."""

import io

import pytest
from rich.table import Table

from glyphforge.observability.terminal import print_table

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
