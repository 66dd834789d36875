"""What stops the making of the virtual environment is told in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

import bootstrap


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (subprocess.CalledProcessError(1, ["ensurepip"]), "cannot prepare here: Command "),
        (OSError(28, "No space left on device"), "cannot prepare here: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), "stopped; the next run goes on"),
    ],
)
def test_a_failure_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, line: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    requirements = tmp_path / "requirements.txt"
    requirements.touch()
    monkeypatch.setattr(bootstrap, "install", fail)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "here", str(requirements)])
    with pytest.raises(SystemExit) as end:
        bootstrap.main()
    assert str(end.value).startswith(line)
    assert "\n" not in str(end.value)
