import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_definer_rights")]

    operations = [
        RunSQLFile(
            "billing",
            "0009_cognito_sync",
            state_operations=[
                migrations.CreateModel(
                    name="CognitoSyncCursor",
                    fields=[
                        ("user_pool_id", models.TextField(primary_key=True, serialize=False)),
                        ("page_token", models.TextField()),
                        ("pages", models.IntegerField()),
                        ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={"db_table": "cognito_sync_cursors"},
                )
            ],
        )
    ]
