from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_authentication_failures"), ("monitoring", "0007_alert_objects")]

    operations = [RunSQLFile("monitoring", "0008_health_of_security")]
