"""The product's settings, with a bare view beside the endpoint."""

from glyphforge.settings import *  # noqa: F403 - all of them are the point

ROOT_URLCONF = "benchmarks.webhooks.urls"
