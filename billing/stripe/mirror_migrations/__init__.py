"""dj-stripe's tables by one migration instead of its three, whose 500 removed fields take Django most of a minute.

A new database runs it; one that dj-stripe's own migrations made counts it as applied (`replaces`). When a release of
dj-stripe brings a migration, `manage.py makemigrations djstripe` writes what it changes here.
"""
