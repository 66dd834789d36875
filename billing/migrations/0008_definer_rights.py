from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_staff_permissions")]

    operations = [RunSQLFile("billing", "0008_definer_rights")]
