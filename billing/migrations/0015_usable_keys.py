from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_attach_without_writers")]

    operations = [RunSQLFile("billing", "0015_usable_keys")]
