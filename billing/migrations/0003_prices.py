import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_isolation"),
        ("billing", "0002_isolation"),
        ("database", "0002_isolation"),
        ("monitoring", "0002_isolation"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0003_prices",
            state_operations=[
                migrations.CreateModel(
                    name="CatalogueEntry",
                    fields=[
                        ("stripe_id", models.TextField(primary_key=True, serialize=False)),
                        ("stripe_product_id", models.TextField(null=True)),
                        (
                            "named_tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                    ("none", "Not ours"),
                                ],
                                null=True,
                            ),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                    ],
                    options={
                        "db_table": "stripe_catalogue",
                    },
                ),
                migrations.AlterModelOptions(
                    name="planprice",
                    options={
                        "ordering": ["tier", "stripe_price_id"],
                        "permissions": [("map_planprice", "Can say which plan a Stripe price sells")],
                    },
                ),
                migrations.RemoveField(
                    model_name="planprice",
                    name="plan",
                ),
                migrations.AddField(
                    model_name="planprice",
                    name="tier",
                    field=models.TextField(
                        choices=[
                            ("free", "Free"),
                            ("starter", "Starter"),
                            ("professional", "Professional"),
                            ("enterprise", "Enterprise"),
                            ("none", "Not ours"),
                        ],
                        verbose_name="plan",
                    ),
                    preserve_default=False,
                ),
            ],
        ),
    ]
