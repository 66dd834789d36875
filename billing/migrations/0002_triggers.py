from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [RunSQLFile("billing", "0002_triggers")]
