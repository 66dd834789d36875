"""Make the virtual environment and install the pinned packages, with what any Python 3.11 to 3.13 brings along.

`python bootstrap.py .venv requirements.txt` does nothing when that was done before. `--browser` also sees to a Chromium
for the browser tests and to PgBouncer; where they cannot be installed it says so. Every failure is one line.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12), (3, 13))
ROOT = Path(__file__).resolve().parent
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    """Check this Python and the arguments, then install under the lock; exits with one line when one is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--browser", action="store_true", help="also install a Chromium and PgBouncer when missing")
    arguments = parser.parse_args()
    if sys.version_info[:2] not in SUPPORTED:
        versions = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        sys.exit(f"Python {versions} is needed, this is {sys.version.split()[0]}: run make PYTHON=/path/to/python3.11")
    if not arguments.requirements.is_file():
        sys.exit(f"{arguments.requirements}: no such file")
    try:
        with one_at_a_time():
            install(arguments.environment, arguments.requirements)
            if arguments.browser:
                ensure(BROWSERS, "chromium-headless-shell", "browser tests")
                ensure(("pgbouncer",), "pgbouncer", "tests of several machines")
    except (OSError, subprocess.CalledProcessError) as error:  # the latter from the venv module, whose pip failed
        sys.exit(f"cannot prepare {arguments.environment}: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the next run goes on")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two `make` at once must not install into one environment."""
    folder = ROOT / "var"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / ".bootstrap.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def install(environment: Path, requirements: Path) -> None:
    """Bring the environment to the state of the requirements file, unless its stamp says that it is."""
    python = environment / "bin" / "python"
    stamp = environment / f".{requirements.stem}.installed"
    state = hashlib.sha256(requirements.read_bytes()).hexdigest()
    works = runs(python, "import pip")
    if works and stamp.is_file() and stamp.read_text() == state:
        return
    if not works:
        create(environment)
    pinned = [
        line for line in requirements.read_text().splitlines() if "==" in line and not line.startswith((" ", "#"))
    ]
    say(f"Installing {len(pinned)} pinned packages of {requirements.name} into {environment} (once, a minute or so)")
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", requirements]
    log = ROOT / "var" / "pip.log"
    with (
        log.open("w") as lines,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip,
    ):
        seen = 0
        for line in pip.stdout or ():
            lines.write(line)
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                seen = min(seen + 1, len(pinned))
                show_progress(seen, len(pinned))
    if pip.returncode != 0:
        errors = [line for line in log.read_text().splitlines() if line.startswith("ERROR")]
        sys.exit(f"pip could not install {requirements.name}: {errors[0] if errors else 'see its log'} ({log})")
    if seen < len(pinned):  # packages of other systems are listed but not needed
        show_progress(len(pinned), len(pinned))
    stamp.write_text(state)


def create(environment: Path) -> None:
    """Make the environment anew; a half-made or broken one is replaced."""
    if environment.exists() and not (environment / "pyvenv.cfg").exists() and any(environment.iterdir()):
        sys.exit(f"{environment} exists and is no virtual environment: remove it or run make VENV=another/folder")
    if not runs(Path(sys.executable), "import ensurepip"):
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        if not apt_install(package) or not runs(Path(sys.executable), "import ensurepip"):
            sys.exit(f"this Python cannot make virtual environments: install its venv module ({package} on Debian)")
    say(f"Making the virtual environment {environment} with Python {sys.version.split()[0]}")
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(environment)


def runs(python: Path, program: str) -> bool:
    """Whether that interpreter exists and can run the program."""
    try:
        done = subprocess.run([python, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def ensure(programs: tuple[str, ...], package: str, tests: str) -> None:
    """One of the programs: the machine's own, else Debian's when root may install it; without it tests are skipped."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    if any(shutil.which(program, path=path) for program in programs):
        return
    if not apt_install(package):
        say(f"No {package}: the {tests} are skipped. To run them: apt-get install {package}, as root")


def apt_install(package: str) -> bool:
    """Install a Debian package; False when this is not root on a Debian, or it does not work."""
    apt = shutil.which("apt-get")
    if not apt or os.geteuid() != 0:
        return False
    say(f"Installing {package} (once, a minute or so)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (ROOT / "var" / "apt.log").open("a") as log:
        for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
            done = subprocess.run(
                [apt, "-q", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                check=False,
            )
    return done.returncode == 0


def show_progress(done: int, total: int) -> None:
    """Draw a bar on a terminal; elsewhere say every twentieth step and the last."""
    if sys.stdout.isatty():
        filled = 30 * done // total
        sys.stdout.write(f"\r  [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}" + ("\n" if done == total else ""))
        sys.stdout.flush()
    elif done == total or done % 20 == 0:
        say(f"  {done} of {total}")


def say(text: str) -> None:
    """Print a line at once, so that a log shows how far this is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
