from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_usable_keys"), ("monitoring", "0012_judged_once")]

    operations = [RunSQLFile("monitoring", "0013_views_at_size")]
