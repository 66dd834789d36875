"""A primary, a streaming standby and PgBouncer in transaction mode, as deploy/pgbouncer configures it."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from glyphforge import embedded
from glyphforge.embedded import account
from tests.support.waiting import PATIENCE_SECONDS, free_port, is_listening, wait_for

ROOT = Path(__file__).resolve().parents[2]
PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")


@dataclass(frozen=True)
class Topology:
    primary: embedded.Server
    standby: embedded.Server
    pooled_port: int

    def pooled_url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.pooled_port}/{database}"

    def wait_for_standby(self) -> None:
        """Until the standby has replayed what the primary has written by now."""
        with psycopg.connect(self.primary.url("postgres"), autocommit=True) as primary:
            written = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert written
        with psycopg.connect(self.standby.url("postgres"), autocommit=True) as standby:
            replayed = "SELECT 1 WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_for(lambda: standby.execute(replayed, written).fetchone())


@contextmanager
def started(primary: embedded.Server, folder: Path) -> Iterator[Topology]:
    """`primary` runs already; the others live under `folder` for the length of the block."""
    standby = embedded.server(folder / "standby", options={"max_connections": "200", "fsync": "off"})
    copy_to_standby(primary, standby)
    standby.start()
    pooler, port = start_pgbouncer(primary, folder)
    try:
        yield Topology(primary, standby, port)
    finally:
        pooler.terminate()
        pooler.wait(timeout=PATIENCE_SECONDS)
        standby.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def copy_of(source: embedded.Server) -> Iterator[embedded.Server]:
    """An independent copy of the running server `source`, running for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="glyphforge-copy-"))
    copy = embedded.server(folder / "copy", options={"max_connections": "200", "fsync": "off"})
    try:
        copy_to_standby(source, copy)
        (copy.data / "standby.signal").unlink()
        copy.start()
        yield copy
    finally:
        copy.stop()
        shutil.rmtree(folder, ignore_errors=True)


def copy_to_standby(primary: embedded.Server, standby: embedded.Server) -> None:
    """A copy of the running `primary` that follows it once started."""
    owner = primary._account()
    standby.root.mkdir(parents=True)
    primary._chown(standby.root, owner)
    source = f"host={primary.socket_folder} port=5432 user=postgres"
    primary._run(
        owner, "pg_basebackup", "--pgdata", str(standby.data), "--write-recovery-conf", "--checkpoint=fast",
        "--wal-method=stream", "--dbname", source,
    )  # fmt: skip


def start_pgbouncer(primary: embedded.Server, folder: Path) -> tuple["subprocess.Popen[bytes]", int]:
    """The process and its port: another one when somebody else has taken that before PgBouncer could."""
    for _ in range(5):
        port = free_port()
        process = pgbouncer_at(primary, folder, port)
        wait_for(lambda process=process, port=port: process.poll() is not None or _is_pgbouncer(port))
        if process.poll() is None:
            return process, port
    raise AssertionError(f"PgBouncer ends at once: run it with {folder}/pgbouncer.ini")


def _is_pgbouncer(port: int) -> bool:
    """Whether it is PgBouncer that listens there."""
    if not is_listening(port):
        return False
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres?connect_timeout=20"
        psycopg.connect(url, autocommit=True).close()
    except psycopg.OperationalError:
        return False
    return True


def pgbouncer_at(primary: embedded.Server, folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """PgBouncer before `primary`, as it was just started: it may not listen yet, or find the port taken."""
    assert PGBOUNCER
    owner = primary._account()
    text = (ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini").read_text()
    for setting, value in {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "auth_type": "trust",
        "auth_file": str(folder / "userlist.txt"),
    }.items():
        text, found = re.subn(rf"(?m)^{setting} = .*$", f"{setting} = {value}", text)
        assert found == 1, setting
    text = re.sub(r"(?m)^glyphforge = .*$", f"* = host={primary.socket_folder} port=5432", text)
    (folder / "pgbouncer.ini").write_text(text + "unix_socket_dir =\n")
    (folder / "userlist.txt").write_text('"postgres" ""\n')
    for path in (folder, folder / "pgbouncer.ini", folder / "userlist.txt"):
        primary._chown(path, owner)
    command = account.command_as(owner, [PGBOUNCER, "--quiet", str(folder / "pgbouncer.ini")])
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
