"""Children that must not outlive the process that started them, even when it is killed without a chance to end them."""

import ctypes
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` for Popen: on Linux the kernel sends the child SIGTERM when the thread that started it is gone.

    None, which Popen takes for nothing to do, on other systems. What the kernel promises:
    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
