"""Write the systemd units: `python deploy/systemd/install.py [--timers] [--to DIR] [--project DIR] [--user NAME]`.

Two services, web and worker. With `--timers`, for machines without a worker: one timer per job instead of the worker,
at the times of the jobs' schedules as they stand in the database. Run it again after changing a schedule.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = "/opt/glyph-forge"
USER = "glyph-forge"
WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TIMER = """\
[Unit]
Description=Glyph Forge billing back office: when job {job} runs

[Timer]
OnCalendar={calendar}
Unit=glyph-forge-job@{job}.service
AccuracySec=1s
# A slot that passed while the machine was off is run when it is on again.
Persistent=true

[Install]
WantedBy=timers.target
"""


def calendar(cron: str) -> str:
    """systemd's OnCalendar for a cron expression in UTC; a form that it cannot express is a ValueError."""
    fields = cron.split()
    if len(fields) != 5 or any(not set(field) <= set("0123456789*/,-") for field in fields):
        raise ValueError(f"{cron!r} cannot be written as a systemd timer")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ValueError(f"{cron!r} means day of month or weekday, which a systemd timer cannot")
    days = "" if weekday == "*" else ",".join(WEEKDAYS[number] for number in _numbers(weekday)) + " "
    return f"{days}*-{_part(month, first=1)}-{_part(day, first=1)} {_part(hour)}:{_part(minute)}:00 UTC"


def _part(field: str, *, first: int = 0) -> str:
    return field.replace("*/", f"{first}/").replace("-", "..")


def _numbers(field: str) -> list[int]:
    found: list[int] = []
    for part in field.split(","):
        span, _, step = part.replace("*", "0-6").partition("/")
        first, _, last = span.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def schedules(project: Path) -> dict[str, str]:
    """Cron expressions of the jobs that are switched on, from the database; without it, ends with one line."""
    listed = subprocess.run(
        [sys.executable, str(project / "manage.py"), "run_job", "--list", "--json"],
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode != 0:
        said = listed.stderr.strip().splitlines()
        sys.exit(f"the schedules cannot be read: {said[-1] if said else 'run_job --list said nothing'}")
    return {row["job"]: row["cron"] for row in json.loads(listed.stdout) if row["enabled"]}


def units(project: str, user: str, timers: dict[str, str] | None) -> dict[str, str]:
    """File name to content."""
    names = ["glyph-forge-web.service"]
    names += ["glyph-forge-worker.service"] if timers is None else ["glyph-forge-job@.service"]
    made = {
        name: (HERE / name).read_text().replace(PROJECT, project).replace(f"User={USER}", f"User={user}")
        for name in names
    }
    for job, cron in (timers or {}).items():
        made[f"glyph-forge-{job}.timer"] = TIMER.format(job=job, calendar=calendar(cron))
    return made


def main() -> None:
    """Write the units, remove the timers of jobs that are no longer on, and print the commands that come next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timers", action="store_true", help="a timer per job instead of the worker")
    parser.add_argument("--to", type=Path, default=Path("/etc/systemd/system"))
    parser.add_argument("--project", default=str(HERE.parent.parent))
    parser.add_argument("--user", default=USER)
    options = parser.parse_args()
    if set(options.project) & set(" %\t\"'\\$"):
        parser.error(f"{options.project}: a unit cannot name this folder plainly; install it under {PROJECT}")
    if not options.to.is_dir():
        parser.error(f"{options.to}: no such folder")
    found = schedules(Path(options.project)) if options.timers else None
    try:
        made = units(options.project, options.user, found)
        for stale in options.to.glob("glyph-forge-*.timer"):
            if stale.name not in made:
                stale.unlink()
        for name, content in made.items():
            (options.to / name).write_text(content)
    except ValueError as error:  # a schedule that a timer cannot express
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}; run as root, or choose another folder with --to")
    starting = [name for name in made if "@" not in name]
    sys.stdout.write(f"{len(made)} units in {options.to}. Next:\n  systemctl daemon-reload\n")
    sys.stdout.write(f"  systemctl enable --now {' '.join(starting)}\n")


if __name__ == "__main__":
    main()
