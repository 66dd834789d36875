from django.db import migrations

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_decline_codes")]

    operations = [RunSQLFile(app="billing", name="0010_refused_requests")]
