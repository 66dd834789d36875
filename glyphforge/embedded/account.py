"""Runs a command as an unprivileged account: PostgreSQL refuses to run as root.

Also a program of its own, so that privileges are dropped in a fresh process and not between fork and
exec of a threaded one: `python account.py UID GID COMMAND…`. On Linux the command keeps one capability,
CAP_DAC_READ_SEARCH, which lets it reach its programs and data below a private folder such as /root
without changing anyone's modes.
"""

import ctypes
import os
import pwd
import sys
from pathlib import Path

CANDIDATES = ("postgres", "nobody")

PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 28, 38, 47
PR_CAP_AMBIENT_RAISE = 2
# access(2), which PostgreSQL's programs use, honours a capability only when uid changes do not clear it.
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


def owner_for(data: Path) -> pwd.struct_passwd | None:
    """The account that shall own and run the cluster in `data`; None when it is the caller's own.

    Only root changes account: to the owner of existing data, else to the first of CANDIDATES. KeyError when there is
    none.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)
    for name in CANDIDATES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise KeyError(f"none of the accounts {', '.join(CANDIDATES)} exists")


def command_as(account: pwd.struct_passwd | None, command: list[str]) -> list[str]:
    """`command`, wrapped so that it runs as `account`."""
    if account is None:
        return command
    return [sys.executable, "-I", "-S", __file__, str(account.pw_uid), str(account.pw_gid), *command]


class CapabilityHeader(ctypes.Structure):
    """capset(2)'s header: the version of the interface, and pid 0 for the calling thread."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class CapabilityData(ctypes.Structure):
    """capset(2)'s masks of 32 capabilities; version 3 takes two of them, the lower ones first."""

    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def drop(uid: int, gid: int) -> None:
    """Turn this process into `uid`, for good; raises PermissionError when root lacks the right to."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc:
        mask = 1 << CAP_DAC_READ_SEARCH
        header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
        data = (CapabilityData * 2)(CapabilityData(mask, mask, mask), CapabilityData(0, 0, 0))
        if libc.capset(ctypes.byref(header), ctypes.byref(data)) == 0:
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)
        else:
            # A sandbox without that capability: none at all then, never root's.
            empty = (CapabilityData * 2)(CapabilityData(0, 0, 0), CapabilityData(0, 0, 0))
            if libc.capset(ctypes.byref(header), ctypes.byref(empty)) != 0:
                raise PermissionError("cannot give up the privileges of root")
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


if __name__ == "__main__":
    try:
        drop(int(sys.argv[1]), int(sys.argv[2]))
        os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - the caller's own fixed command, no shell
    except OSError as error:
        sys.exit(f"cannot run {Path(sys.argv[3]).name} as user {sys.argv[1]}: {error}")
