"""The examination of an installation in its real roles and at its real addresses: `manage.py doctor`."""
