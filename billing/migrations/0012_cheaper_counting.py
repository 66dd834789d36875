from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_backup_runs")]

    operations = [RunSQLFile("billing", "0012_cheaper_counting")]
