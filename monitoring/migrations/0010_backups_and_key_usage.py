from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0011_backup_runs"),
        ("monitoring", "0009_rights"),
    ]

    operations = [RunSQLFile("monitoring", "0010_backups_and_key_usage")]
