from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0011_dead_rows_of_queues")]

    operations = [RunSQLFile("monitoring", "0012_judged_once")]
