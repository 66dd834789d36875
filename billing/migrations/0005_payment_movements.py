from django.db import migrations

from glyphforge.database.frozen_sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_stripe_customers")]

    operations = [RunSQLFile(app="billing", name="0005_payment_movements")]
