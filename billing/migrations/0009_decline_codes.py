from django.db import migrations

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_desks")]

    operations = [RunSQLFile(app="billing", name="0009_decline_codes")]
