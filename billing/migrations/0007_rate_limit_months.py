from django.db import migrations

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_plans_limits")]

    operations = [RunSQLFile(app="billing", name="0007_rate_limit_months")]
