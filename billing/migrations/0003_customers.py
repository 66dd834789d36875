import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_isolation"),
        ("billing", "0002_isolation"),
        ("database", "0002_isolation"),
        ("djstripe", "0001_squashed_0003_2_11"),
        ("monitoring", "0002_isolation"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0003_customers",
            state_operations=[
                migrations.AddField(
                    model_name="payment",
                    name="stripe_customer_id",
                    field=models.TextField(null=True, verbose_name="Stripe customer"),
                ),
                migrations.AddField(
                    model_name="subscription",
                    name="stripe_customer_id",
                    field=models.TextField(editable=False, null=True, verbose_name="Stripe customer"),
                ),
                migrations.AddField(
                    model_name="user",
                    name="suspended_at",
                    field=models.DateTimeField(editable=False, help_text="Outlasts a deletion.", null=True),
                ),
                migrations.AddField(
                    model_name="webhookevent",
                    name="waits_for",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(),
                        help_text="What somebody has to bring: a Stripe customer, a price, an address.",
                        null=True,
                        size=None,
                    ),
                ),
                migrations.AlterField(
                    model_name="difference",
                    name="kind",
                    field=models.TextField(
                        choices=[
                            ("missing_locally", "Missing locally"),
                            ("missing_at_stripe", "Missing at Stripe"),
                            ("differs", "Differs"),
                            ("other_owner", "Names another customer"),
                        ]
                    ),
                ),
                migrations.AlterField(
                    model_name="difference",
                    name="run",
                    field=models.ForeignKey(
                        help_text="Empty where an event brought it.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="differences",
                        to="billing.reconciliationrun",
                    ),
                ),
                migrations.AlterField(
                    model_name="user",
                    name="stripe_customer_id",
                    field=models.TextField(
                        blank=True,
                        help_text="The primary one of those in stripe_customers.",
                        null=True,
                        unique=True,
                        verbose_name="Stripe customer",
                    ),
                ),
                migrations.CreateModel(
                    name="StripeCustomer",
                    fields=[
                        (
                            "stripe_customer_id",
                            models.TextField(primary_key=True, serialize=False, verbose_name="Stripe customer"),
                        ),
                        ("is_primary", models.BooleanField(db_default=False)),
                        (
                            "ownership",
                            models.TextField(
                                choices=[
                                    ("known", "Known"),
                                    ("presumed", "Presumed: nobody says whose it is"),
                                    ("unclaimed", "Unlinked, waits for its owner"),
                                ],
                                db_default="known",
                            ),
                        ),
                        (
                            "linked_by",
                            models.TextField(
                                db_default="", help_text="The actor of the transaction, where nothing else is said."
                            ),
                        ),
                        ("linked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "chosen_at",
                            models.DateTimeField(help_text="When somebody chose it as the primary one.", null=True),
                        ),
                        ("created_at", models.DateTimeField(help_text="At Stripe.", null=True)),
                        ("deleted_at", models.DateTimeField(null=True)),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="stripe_customers",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "stripe_customers",
                    },
                ),
            ],
        ),
    ]
