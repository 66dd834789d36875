from django.db import migrations

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0008_health_of_security"),
    ]

    operations = [
        RunSQLFile(
            "monitoring",
            "0009_rights",
            state_operations=[
                migrations.AlterModelOptions(
                    name="systemhealth",
                    options={
                        "managed": False,
                        "permissions": [("export_views", "Can export monitoring pages")],
                        "verbose_name": "system health",
                        "verbose_name_plural": "system health",
                    },
                ),
            ],
        ),
    ]
