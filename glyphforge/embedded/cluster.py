"""One embedded PostgreSQL cluster: create it, start it, stop it, whatever state the last run left it in."""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from glyphforge.embedded import account, postmaster
from glyphforge.embedded.binaries import EmbeddedError, for_data

DATABASE = "glyphforge"
USER = "postgres"
# The port only names the socket file. It is always given, so that a stray PGPORT changes nothing.
PORT = 5432
# sun_path holds 104 bytes on macOS, 108 on Linux, and the file name takes 15 of them.
LONGEST_SOCKET_FOLDER = 85
START_SECONDS = 60
LEAVING_SECONDS = 1.0
LOG_LIMIT_BYTES = 10_000_000


def server(root: Path, *, options: Mapping[str, str] | None = None) -> "Server":
    """The server whose files live under `root`. `options` are PostgreSQL settings for its next start."""
    return Server(root, options=options or {})


class Server:
    """A PostgreSQL cluster under `root`, reached by a Unix socket that only its owner can open.

    `start` and `stop` are safe from several processes at once. Failures raise EmbeddedError with one line.
    """

    def __init__(self, root: Path, *, options: Mapping[str, str]) -> None:
        self.root = root.resolve()
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self.options = dict(options)

    @property
    def bindir(self) -> Path:
        """Folder with the programs (psql, pg_dump, …) of this cluster's version."""
        return for_data(self.data).bindir

    @property
    def socket_folder(self) -> Path:
        """What clients give as `host`; in the temporary folder when `root` is too deep for a socket."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"glyphforge-{digest}"

    def url(self, database: str = DATABASE) -> str:
        """A libpq URL of `database` on this server, without a password: the socket's folder lets in its owner only.

        How a URL names a socket: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
        """
        folder = quote(str(self.socket_folder), safe="")
        return f"postgresql://{USER}@/{quote(database, safe='')}?host={folder}&port={PORT}"

    def is_running(self) -> bool:
        """Whether the server process exists. It may still be starting: `start` waits for it."""
        return postmaster.running_pid(self.data) is not None

    def start(self) -> bool:
        """Have the server run and the database exist. False when the server ran already."""
        with self._locked():
            if self.is_running():
                try:
                    self._create_database()
                except EmbeddedError:
                    # A server that is just being killed still looks alive; it is gone a moment later.
                    if not postmaster.ends_within(self.data, seconds=2):
                        raise
                else:
                    return False
            owner = self._account()
            self._prepare_folders(owner)
            if not (self.data / "PG_VERSION").exists():
                self._create_cluster(owner)
            postmaster.clear_stale_pid_file(self.data)
            self._start_postmaster(owner)
            self._create_database()
            return True

    def stop(self) -> bool:
        """Stop the server and wait for it, breaking its connections. False when it was not running."""
        if not self.root.exists():
            return False
        with self._locked():
            if not self.is_running():
                return False
            self._run(self._account(), "pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", "60", "stop")
            return True

    def stop_if_unused(self) -> bool:
        """Stop the server unless a client is connected; False when one is or when it was not running."""
        deadline = time.monotonic() + LEAVING_SECONDS
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as connection:
                # The session of a client that has just left is there for a moment longer.
                while (others := _other_clients(connection)) and time.monotonic() < deadline:
                    time.sleep(0.05)
        except psycopg.OperationalError:
            return False
        return not others and self.stop()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise EmbeddedError(
                f"cannot use {self.root}: {error.strerror}; run as its owner or set DATABASE_URL"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _account(self) -> pwd.struct_passwd | None:
        if self.data.exists() and os.geteuid() not in (0, self.data.stat().st_uid):
            name = postmaster.account_name(self.data.stat().st_uid)
            raise EmbeddedError(f"{self.data} belongs to {name}: run as {name} or as root, or move it away")
        try:
            return account.owner_for(self.data)
        except KeyError as error:
            raise EmbeddedError(f"PostgreSQL does not run as root, and {error.args[0]}") from error

    def _prepare_folders(self, owner: pwd.struct_passwd | None) -> None:
        folder = self.socket_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self._chown(folder, owner)
        # The temporary folder is open to everyone: never speak through a socket that somebody else set up.
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != (owner.pw_uid if owner else os.geteuid()):
            raise EmbeddedError(f"{folder} belongs to somebody else: remove it, or move this folder to a shorter path")
        folder.chmod(0o700)
        too_long = self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES
        with self.log.open("w" if too_long else "a"):
            self._chown(self.log, owner)

    @staticmethod
    def _chown(path: Path, owner: pwd.struct_passwd | None) -> None:
        if owner:
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)

    def _create_cluster(self, owner: pwd.struct_passwd | None) -> None:
        """Run initdb beside the final place and rename: an interrupted one is never taken for a cluster."""
        fresh = self.root / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._chown(fresh, owner)
        # Upper and lower case must work beyond ASCII, as on a production server.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if for_data(self.data).major < 17:
            locale = ["--locale=C.UTF-8"]
        initdb = [
            "initdb",
            "-D",
            str(fresh),
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-instructions",
            *locale,
        ]
        self._run(owner, *initdb)
        if self.data.exists():
            self.data.rmdir()
        fresh.rename(self.data)

    def _start_postmaster(self, owner: pwd.struct_passwd | None) -> None:
        settings = {
            "port": str(PORT),
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.options,
        }
        words = " ".join(f"-c {name}={postmaster.quoted(value)}" for name, value in settings.items())
        command = [
            "pg_ctl",
            "-D",
            str(self.data),
            "-l",
            str(self.log),
            "-w",
            "-t",
            str(START_SECONDS),
            "-o",
            words,
            "start",
        ]
        deadline = time.monotonic() + START_SECONDS
        while not self.is_running():
            logged = self.log.stat().st_size
            try:
                self._run(owner, *command)
            except EmbeddedError as error:
                # After kill -9 the dead server's children hold its shared memory for a moment.
                reason = postmaster.failure_in_log(self.log, logged)
                if not postmaster.is_transient(reason) or time.monotonic() > deadline:
                    raise EmbeddedError(f"PostgreSQL does not start: {reason or error}; see {self.log}") from error
                time.sleep(0.5)
                postmaster.clear_stale_pid_file(self.data)

    def _create_database(self) -> None:
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=20) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if not known:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.Error as error:
            raise EmbeddedError(
                f"PostgreSQL runs but refuses: {' '.join(str(error).split())}; see {self.log}"
            ) from error

    def _run(self, owner: pwd.struct_passwd | None, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the cluster's account, without the caller's PG* variables."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment["LC_ALL"] = "C"
        command = account.command_as(owner, [str(self.bindir / program), *arguments])
        with tempfile.TemporaryFile() as output:
            # A file, not a pipe: the server inherits it and would keep a pipe open for as long as it runs.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.root,
                check=False,
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        if done.returncode != 0:
            raise EmbeddedError(f"{program} failed: {postmaster.relevant_line(said)}")


def _other_clients(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ).fetchone()
    return int(row[0]) if row else 0
