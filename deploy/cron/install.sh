#!/bin/sh
# Run the maintenance jobs from this user's crontab: install.sh install|uninstall|show
#
# One line, every minute: it starts the jobs that are due by their schedules in the database (UTC, as edited in the
# admin), each in a process of its own. Entries of others in the crontab are kept. Where a worker runs as well, a slot
# still runs once.
set -eu

project=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$project/.venv/bin/python}
log=${LOG_FILE:-$project/var/cron.log}
begin="# >>> glyph-forge maintenance (deploy/cron/install.sh) >>>"
end="# <<< glyph-forge maintenance <<<"

current() {
    # An empty crontab is an error to crontab -l; a broken crontab command must stop us before we overwrite anything.
    crontab -l 2>/dev/null && return
    crontab -l 2>&1 | grep -qi 'no crontab' || { echo "crontab -l fails; nothing was changed" >&2; exit 1; }
}

quoted() {
    # For the shell that cron starts; cron itself takes a bare % for the end of the line.
    printf "'%s'" "$(printf %s "$1" | sed -e "s/'/'\\\\''/g" -e 's/%/\\%/g')"
}

others() {
    awk -v begin="$begin" -v end="$end" '$0 == begin {ours = 1} !ours {print} $0 == end {ours = 0}'
}

command -v crontab >/dev/null || { echo "there is no crontab command: install cron, or use systemd timers" >&2; exit 1; }
entries=$(current)
if [ "$(printf '%s\n' "$entries" | grep -cFx "$begin")" != "$(printf '%s\n' "$entries" | grep -cFx "$end")" ]; then
    echo "the crontab has one of our two marks without the other: repair it with crontab -e; nothing was changed" >&2
    exit 1
fi
kept=$(printf '%s\n' "$entries" | others)

case ${1:-} in
    install)
        [ -x "$python" ] || { echo "$python is no program: make the virtual environment, or set PYTHON" >&2; exit 1; }
        mkdir -p "$(dirname "$log")"
        line="* * * * * cd $(quoted "$project") && $(quoted "$python") manage.py run_job --due --trigger cron >> $(quoted "$log") 2>&1"
        { [ -z "$kept" ] || printf '%s\n' "$kept"; printf '%s\n' "$begin" "$line" "$end"; } | crontab -
        echo "installed; settings come from $project/.env, output goes to $log"
        ;;
    uninstall)
        if [ -n "$kept" ]; then printf '%s\n' "$kept" | crontab -; else crontab -r 2>/dev/null || true; fi
        echo "uninstalled"
        ;;
    show)
        printf '%s\n' "$entries" | awk -v begin="$begin" -v end="$end" '$0 == begin {ours = 1} ours {print} $0 == end {ours = 0}'
        ;;
    *)
        echo "usage: install.sh install|uninstall|show" >&2
        exit 2
        ;;
esac
