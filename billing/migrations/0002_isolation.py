import django.core.validators
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_isolation"),
        ("billing", "0001_baseline"),
        ("database", "0002_isolation"),
        ("monitoring", "0001_baseline"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0002_isolation",
            state_operations=[
                migrations.AlterField(
                    model_name="payment",
                    name="amount_cents",
                    field=models.BigIntegerField(
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(999999999999),
                        ]
                    ),
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
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(999999999999999),
                        ],
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
        # What was forged to take usage back goes; the rest of a row is made to fit what its requests can have been.
        migrations.RunSQL(
            """
            DELETE FROM api_usage_deltas WHERE total_requests <= 0;
            UPDATE api_usage_deltas
            SET
                month = date_trunc('month', least(greatest(month, '1970-01-01'), '2199-12-01')::timestamp)::date,
                failed_requests = least(greatest(failed_requests, 0), total_requests),
                max_response_time_ms = greatest(max_response_time_ms, 0),
                total_response_time_ms = least(
                    greatest(total_response_time_ms, 0), total_requests::bigint * greatest(max_response_time_ms, 0)
                ),
                last_request_at
                = least(greatest(last_request_at, '1970-01-01 00:00:00+00'), '2199-12-31 23:59:59+00');
            """,
            migrations.RunSQL.noop,
        ),
    ]
