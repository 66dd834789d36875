"""`python -m demo.run`: start everything, say where it is, wait, stop everything."""

import sys

from demo.run import configuration, supervisor
from glyphforge.embedded import EmbeddedError
from glyphforge.observability.terminal import say


def main() -> None:
    """Run until a signal; exits with one line on standard error when something is in the way."""
    try:
        supervisor.run(configuration.prepare())
    except (configuration.UnusableError, EmbeddedError, OSError) as error:  # OSError: a full disk, a folder of others
        sys.exit(f"make run: {error}")
    except supervisor.Stopped:
        say("Stopped.")


if __name__ == "__main__":
    main()
