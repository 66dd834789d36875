"""The tags of `{% load backoffice %}`."""
