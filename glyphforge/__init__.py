"""Glyph Forge's billing back office: the Django project."""
