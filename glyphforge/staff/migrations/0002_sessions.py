import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("account", "__latest__"),
        ("approval", "0001_approvals"),
        ("audit", "0004_erasure"),
        ("auth", "__latest__"),
        ("database", "0003_watch"),
        ("mfa", "__latest__"),
        ("socialaccount", "__latest__"),
        ("staff", "0001_accounts"),
        ("web", "0003_used_forms"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="glyphforge.staff",
            name="0002_sessions",
            state_operations=[
                migrations.CreateModel(
                    name="StaffSession",
                    fields=[
                        ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                        ("began_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("address", models.TextField(null=True)),
                        ("browser", models.TextField(null=True)),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "db_table": "staff_sessions",
                        "default_permissions": (),
                    },
                )
            ],
        ),
    ]
