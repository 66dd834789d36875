"""What an operator does to the database as a whole: `manage.py database`."""
