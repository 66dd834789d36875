from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_stripe_permissions")]

    operations = [RunSQLFile("billing", "0014_attach_without_writers")]
