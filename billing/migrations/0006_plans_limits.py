import django.db.models.deletion
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_seals"),
        ("billing", "0005_payment_movements"),
        ("database", "0003_watch"),
        ("djstripe", "__latest__"),
        ("monitoring", "0003_stripe"),
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0006_plans_limits",
            state_operations=[
                migrations.AlterModelOptions(
                    name="openinvoice",
                    options={
                        "permissions": [
                            ("settle_invoice", "Can void an invoice, give it up or mark it as paid at Stripe")
                        ],
                        "verbose_name": "unpaid invoice",
                    },
                ),
                migrations.AlterModelOptions(
                    name="subscription",
                    options={
                        "permissions": [
                            ("cancel_subscription", "Can cancel a subscription at Stripe"),
                            ("change_plan", "Can change at Stripe what a subscription costs"),
                        ]
                    },
                ),
                migrations.AlterModelOptions(
                    name="user",
                    options={
                        "permissions": [
                            ("credit_user", "Can credit a customer an amount at Stripe"),
                            ("fix_orphans", "Can give customers without a subscription the free plan"),
                            ("link_customer", "Can link a Stripe customer to a customer"),
                            ("suspend_user", "Can suspend and reactivate a customer"),
                            ("sync_customer", "Can sync a customer from Stripe"),
                        ],
                        "verbose_name": "customer",
                    },
                ),
                migrations.AddField(
                    model_name="apikey",
                    name="key_fast_hash",
                    field=models.TextField(editable=False, null=True),
                ),
                migrations.AddField(
                    model_name="ratelimit",
                    name="user",
                    field=models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="billing.user",
                    ),
                ),
                migrations.AlterField(
                    model_name="striperequest",
                    name="kind",
                    field=models.TextField(
                        choices=[
                            ("refund", "Refund"),
                            ("cancel_now", "Cancel now"),
                            ("cancel_at_period_end", "Cancel at period end"),
                            ("resume", "Resume"),
                            ("pause_collection", "Pause collection"),
                            ("resume_collection", "Resume collection"),
                            ("tag_customer", "Tag customer"),
                            ("change_plan", "Change plan"),
                            ("change_plan_at_period_end", "Change plan at period end"),
                            ("release_schedule", "Take back planned changes"),
                            ("extend_trial", "Extend trial"),
                            ("apply_coupon", "Apply coupon"),
                            ("remove_coupon", "Remove coupon"),
                            ("credit", "Credit"),
                            ("void_invoice", "Void invoice"),
                            ("mark_paid", "Mark invoice paid"),
                            ("mark_uncollectible", "Mark invoice uncollectible"),
                        ]
                    ),
                ),
                migrations.AlterField(
                    model_name="striperequest",
                    name="stripe_object_id",
                    field=models.TextField(
                        help_text="The charge, subscription, invoice or customer.", verbose_name="Stripe object"
                    ),
                ),
            ],
        ),
    ]
