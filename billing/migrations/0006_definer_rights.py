from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_maintenance")]

    operations = [RunSQLFile("billing", "0006_definer_rights")]
