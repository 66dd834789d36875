"""Runs all checks side by side; one that fails or hangs keeps no other from answering."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from django.db import OperationalError, connections

from glyphforge.audit.masking import mask
from monitoring.doctor.finding import Finding, critical

# The slowest, the comparison with the definitions, takes some seconds; a host that swallows packets takes for ever.
LIMIT_SECONDS = 30.0

Check = Callable[[], Iterable[Finding]]


@dataclass
class _Run:
    """A check under way; `findings` is complete once `thread` has ended."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # A daemon: the command ends though a check does not.
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        found: list[Finding] = []
        try:
            found.extend(self.check())
        except OperationalError:
            found.append(
                critical("not checked, as the database does not answer", "mend what the line `database` names")
            )
        except Exception as error:  # noqa: BLE001 - told as the check's finding
            text = " ".join(str(error).split()) or "no message"
            found.append(critical(f"cannot be checked: {type(error).__name__}: {text}", "mend what the message names"))
        finally:
            connections.close_all()  # this thread's own
        self.findings = found


def examine(checks: Mapping[str, Check], *, seconds: float = LIMIT_SECONDS) -> Iterator[tuple[str, list[Finding]]]:
    """Yield each check's name and findings, in the order of `checks`; all are started at once.

    A message is one line, and masked; a fix is our own text. What has not answered within `seconds` is critical and
    left alone.
    """
    deadline = time.monotonic() + seconds
    runs = {name: _Run(check) for name, check in checks.items()}
    for name, run in runs.items():
        run.thread.join(max(0.0, deadline - time.monotonic()))
        late = critical(f"no answer within {seconds:.0f} s", "see whether the address behind it answers at all")
        found = [late] if run.thread.is_alive() else run.findings
        yield name, [Finding(each.status, mask(" ".join(each.message.split())), each.fix) for each in found]
