import django.contrib.postgres.functions
import django.core.validators
import django.db.models.deletion
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
            name="0003_money",
            state_operations=[
                migrations.AddField(
                    model_name="payment",
                    name="attempt_count",
                    field=models.BigIntegerField(
                        db_default=0, validators=[django.core.validators.MinValueValidator(0)], verbose_name="attempts"
                    ),
                ),
                migrations.AddField(
                    model_name="payment",
                    name="disputed_cents",
                    field=models.BigIntegerField(
                        db_default=0,
                        help_text="Taken by disputes that are open or lost.",
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                migrations.AddField(
                    model_name="payment",
                    name="failure_code",
                    field=models.TextField(null=True),
                ),
                migrations.AddField(
                    model_name="payment",
                    name="next_attempt_at",
                    field=models.DateTimeField(null=True),
                ),
                migrations.AddField(
                    model_name="payment",
                    name="paid_out_of_band",
                    field=models.BooleanField(db_default=False, verbose_name="paid outside of Stripe"),
                ),
                migrations.CreateModel(
                    name="PaymentMovement",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                db_default=django.contrib.postgres.functions.RandomUUID(),
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        (
                            "kind",
                            models.TextField(
                                choices=[
                                    ("charge", "Paid"),
                                    ("refund", "Refunded"),
                                    ("refund_failed", "Refund failed"),
                                    ("dispute", "Disputed"),
                                    ("dispute_reversed", "Dispute reversed"),
                                ]
                            ),
                        ),
                        (
                            "stripe_object_id",
                            models.TextField(
                                help_text="The charge, refund or dispute; the invoice of what was paid elsewhere.",
                                verbose_name="Stripe object",
                            ),
                        ),
                        (
                            "number",
                            models.BigIntegerField(
                                db_default=1, help_text="1, and more for what corrects or repeats the same fact."
                            ),
                        ),
                        ("amount_cents", models.BigIntegerField()),
                        ("currency", models.TextField()),
                        ("occurred_at", models.DateTimeField()),
                        (
                            "origin",
                            models.TextField(
                                choices=[
                                    ("stripe", "As Stripe has it"),
                                    ("totals", "From totals written into the payment"),
                                ],
                                db_default="stripe",
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "payment",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="movements",
                                to="billing.payment",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "payment movement",
                        "db_table": "payment_movements",
                    },
                ),
            ],
        ),
    ]
