from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_stripe_links")]

    operations = [RunSQLFile("billing", "0005_maintenance")]
