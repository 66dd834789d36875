import django.core.validators
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0002_rows",
            state_operations=[
                migrations.AlterField(
                    model_name="payment",
                    name="amount_cents",
                    field=models.BigIntegerField(validators=[django.core.validators.MinValueValidator(0)]),
                ),
                migrations.AlterField(
                    model_name="payment",
                    name="currency",
                    field=models.TextField(
                        db_default="usd",
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-z]{3}\\Z", "A currency has three lower-case letters."
                            )
                        ],
                    ),
                ),
                migrations.AlterField(
                    model_name="payment",
                    name="refunded_cents",
                    field=models.BigIntegerField(
                        db_default=0, validators=[django.core.validators.MinValueValidator(0)]
                    ),
                ),
                migrations.AlterField(
                    model_name="subscription",
                    name="currency",
                    field=models.TextField(
                        db_default="usd",
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-z]{3}\\Z", "A currency has three lower-case letters."
                            )
                        ],
                    ),
                ),
                migrations.AlterField(
                    model_name="subscription",
                    name="price_cents",
                    field=models.BigIntegerField(
                        db_default=0,
                        help_text="A month, after recurring discounts, before taxes.",
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                migrations.AlterField(
                    model_name="subscription",
                    name="quantity",
                    field=models.BigIntegerField(
                        db_default=1, validators=[django.core.validators.MinValueValidator(0)]
                    ),
                ),
            ],
        ),
    ]
