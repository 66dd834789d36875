"""`python -m glyphforge.embedded start|stop|status|url FOLDER`: the embedded server by hand."""

import argparse
import sys
from pathlib import Path

from glyphforge.embedded import EmbeddedError, server


def main() -> None:
    """Do the action and say the state; exits with one line when it fails."""
    parser = argparse.ArgumentParser(prog="python -m glyphforge.embedded", description=__doc__)
    parser.add_argument("action", choices=("start", "stop", "status", "url"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path("var/postgres"))
    arguments = parser.parse_args()
    cluster = server(arguments.folder)
    try:
        if arguments.action == "start":
            cluster.start()
        elif arguments.action == "stop":
            cluster.stop()
    except EmbeddedError as error:
        sys.exit(str(error))
    state = "running" if cluster.is_running() else "stopped"
    sys.stdout.write(f"{cluster.url() if arguments.action == 'url' else state}\n")


if __name__ == "__main__":
    main()
