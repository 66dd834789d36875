import django.db.models.functions.datetime
from django.db import migrations, models

from glyphforge.sql import RunSQLFile


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_authentication_failures")]

    operations = [
        RunSQLFile(
            "billing",
            "0004_stripe_links",
            state_operations=[
                migrations.CreateModel(
                    name="Tombstone",
                    fields=[
                        ("stripe_id", models.TextField(primary_key=True, serialize=False)),
                        ("kind", models.TextField()),
                        (
                            "buried_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                        ),
                    ],
                    options={"db_table": "stripe_tombstones"},
                ),
                migrations.CreateModel(
                    name="UnmatchedCustomer",
                    fields=[
                        (
                            "stripe_customer_id",
                            models.TextField(primary_key=True, serialize=False, verbose_name="Stripe customer"),
                        ),
                        ("email", models.TextField(null=True, verbose_name="e-mail")),
                        ("name", models.TextField(db_default="")),
                        ("reason", models.TextField(help_text="Why it was not linked by itself.")),
                        (
                            "first_seen_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                        ),
                    ],
                    options={"db_table": "unmatched_stripe_customers", "ordering": ["-first_seen_at"]},
                ),
                migrations.AlterField(
                    model_name="user",
                    name="email",
                    field=models.TextField(
                        blank=True, help_text="Unique whatever its case.", null=True, verbose_name="e-mail"
                    ),
                ),
            ],
        )
    ]
