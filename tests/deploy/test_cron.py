"""The cron installer: run twice it changes nothing more, what is not ours stays, and it leaves no trace."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALLER = ROOT / "deploy" / "cron" / "install.sh"
FOREIGN = "MAILTO=ops@example.com\n# nightly\n0 5 * * * /usr/local/bin/rotate 100\\%\n"

FAKE = """#!/bin/sh
table={table}
[ -e {broken} ] && {{ echo "crontab: cannot open spool" >&2; exit 1; }}
case "$1" in
    -l) [ -e "$table" ] || {{ echo "no crontab for somebody" >&2; exit 1; }}; cat "$table" ;;
    -r) rm "$table" ;;
    -) cat > "$table.new" && mv "$table.new" "$table" ;;
esac
"""


class Crontab:
    def __init__(self, folder: Path) -> None:
        self.table, self.broken = folder / "table", folder / "broken"
        program = folder / "bin" / "crontab"
        program.parent.mkdir()
        program.write_text(FAKE.format(table=shlex.quote(str(self.table)), broken=shlex.quote(str(self.broken))))
        program.chmod(0o755)
        self.environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "LOG_FILE": str(folder / "it's 100% log" / "cron.log"),
        }

    def run(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(INSTALLER), action], env=self.environment, capture_output=True, text=True, check=False
        )

    @property
    def text(self) -> str:
        return self.table.read_text()


@pytest.fixture
def crontab(tmp_path: Path) -> Crontab:
    return Crontab(tmp_path)


def test_install_keeps_foreign_entries_and_is_idempotent(crontab: Crontab) -> None:
    crontab.table.write_text(FOREIGN)
    assert crontab.run("install").returncode == 0
    once = crontab.text
    assert once.startswith(FOREIGN)
    assert once.count("run_job --due") == 1
    assert crontab.run("install").returncode == 0
    assert crontab.text == once


def test_uninstall_restores_the_crontab_of_before(crontab: Crontab) -> None:
    crontab.table.write_text(FOREIGN)
    crontab.run("install")
    assert crontab.run("uninstall").returncode == 0
    assert crontab.text == FOREIGN
    assert crontab.run("uninstall").returncode == 0


def test_without_a_crontab_before_there_is_none_after(crontab: Crontab) -> None:
    assert crontab.run("install").returncode == 0
    assert crontab.run("uninstall").returncode == 0
    assert not crontab.table.exists()


def test_entries_added_after_ours_stay(crontab: Crontab) -> None:
    crontab.run("install")
    crontab.table.write_text(crontab.text + FOREIGN)
    crontab.run("install")
    assert FOREIGN in crontab.text
    crontab.run("uninstall")
    assert crontab.text == FOREIGN


def test_a_crontab_that_cannot_be_read_is_not_overwritten(crontab: Crontab) -> None:
    crontab.table.write_text(FOREIGN)
    crontab.broken.touch()
    refused = crontab.run("install")
    assert refused.returncode == 1
    assert "nothing was changed" in refused.stderr
    assert crontab.text == FOREIGN


def test_a_lost_mark_is_refused(crontab: Crontab) -> None:
    crontab.run("install")
    damaged = "\n".join(line for line in crontab.text.splitlines() if not line.startswith("# <<<")) + "\n" + FOREIGN
    crontab.table.write_text(damaged)
    for action in ("install", "uninstall"):
        assert crontab.run(action).returncode == 1
        assert crontab.text == damaged


def test_a_missing_virtual_environment_is_named(crontab: Crontab) -> None:
    crontab.environment["PYTHON"] = "/nowhere/python"
    refused = crontab.run("install")
    assert refused.returncode == 1
    assert "/nowhere/python is no program" in refused.stderr
    assert not crontab.table.exists()


def test_the_line_is_what_cron_and_its_shell_understand(crontab: Crontab) -> None:
    crontab.run("install")
    line = next(line for line in crontab.text.splitlines() if "run_job" in line)
    assert line.startswith("* * * * * ")
    # As cron does: a bare % would end the command, an escaped one is a %.
    command = line.removeprefix("* * * * * ")
    assert not re.search(r"(?<!\\)%", command)
    checked = command.replace("\\%", "%").replace("run_job --due --trigger cron", "run_job --help")
    done = subprocess.run(["/bin/sh", "-c", checked], check=False)
    assert done.returncode == 0
    assert "--due" in Path(crontab.environment["LOG_FILE"]).read_text()


def test_without_cron_it_says_so(tmp_path: Path) -> None:
    for name in ("dirname", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    done = subprocess.run(
        [str(INSTALLER), "show"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("there is no crontab command")
