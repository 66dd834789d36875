"""The web process's entry point."""

import os

from django.core.wsgi import get_wsgi_application

from glyphforge.web.slow_bodies import SlowBodiesCut

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "glyphforge.settings")
# The settings give this process, and no other, a pool of connections: the queue's forks would share and break it.
os.environ.setdefault("GLYPHFORGE_PROCESS", "web")

application = SlowBodiesCut(get_wsgi_application())

from monitoring.jobs import watcher  # noqa: E402 - the apps are there only now

watcher.start()
