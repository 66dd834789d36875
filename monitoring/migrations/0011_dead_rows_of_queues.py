from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0010_backups_and_key_usage")]

    operations = [RunSQLFile("monitoring", "0011_dead_rows_of_queues")]
