import django.contrib.postgres.functions
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("approval", "0001_approvals"),
        ("audit", "0004_erasure"),
        ("billing", "0007_rate_limit_months"),
        ("database", "0003_watch"),
        ("djstripe", "__latest__"),
        ("monitoring", "0004_watch"),
        ("staff", "0002_sessions"),
        ("web", "0003_used_forms"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0008_desks",
            state_operations=[
                migrations.CreateModel(
                    name="ChargedCard",
                    fields=[
                        (
                            "subscription",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="charged_card",
                                serialize=False,
                                to="billing.subscription",
                            ),
                        ),
                        ("payment_method_id", models.TextField(null=True, verbose_name="payment method")),
                        ("brand", models.TextField(null=True)),
                        ("last4", models.TextField(null=True)),
                        (
                            "expires_on",
                            models.DateField(help_text="The last day on which it can be charged.", null=True),
                        ),
                    ],
                    options={
                        "db_table": "charged_cards",
                        "managed": False,
                        "default_permissions": (),
                    },
                ),
                migrations.CreateModel(
                    name="QuotaUsage",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "user_id", "month", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("month", models.DateField()),
                        ("counted_requests", models.BigIntegerField()),
                        ("corrected_requests", models.BigIntegerField()),
                        ("used_requests", models.BigIntegerField(help_text="Both together, never less than nothing.")),
                    ],
                    options={
                        "db_table": "quota_usage",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="UpcomingInvoice",
                    fields=[
                        (
                            "subscription",
                            models.OneToOneField(
                                on_delete=django.db.models.deletion.CASCADE,
                                primary_key=True,
                                related_name="upcoming_invoice",
                                serialize=False,
                                to="billing.subscription",
                            ),
                        ),
                        ("content", models.JSONField(null=True)),
                        ("told_at", models.DateTimeField(help_text="When Stripe said it.", null=True)),
                        (
                            "problem",
                            models.TextField(db_default="", help_text="Why it could not be asked the last time."),
                        ),
                        ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={
                        "db_table": "upcoming_invoices",
                        "default_permissions": (),
                    },
                ),
                migrations.AlterModelOptions(
                    name="openinvoice",
                    options={
                        "permissions": [
                            ("settle_invoice", "Can void an invoice, give it up or mark it as paid at Stripe"),
                            ("collect_invoice", "Can have an unpaid invoice charged again"),
                            (
                                "chase_invoice",
                                "Can look after an unpaid invoice: send its payment link, give the customer time",
                            ),
                        ],
                        "verbose_name": "unpaid invoice",
                    },
                ),
                migrations.AlterModelOptions(
                    name="user",
                    options={
                        "permissions": [
                            ("export_lists", "Can export customers, subscriptions, payments and invoices"),
                            ("erase_user", "Can ask to erase a customer"),
                            ("export_user", "Can export everything about a customer"),
                            ("hold_user", "Can keep a customer from being erased, and lift that"),
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
                    name="replaced_at",
                    field=models.DateTimeField(editable=False, null=True),
                ),
                migrations.AddField(
                    model_name="openinvoice",
                    name="decline_code",
                    field=models.TextField(help_text="What the bank said at the last try.", null=True),
                ),
                migrations.AddField(
                    model_name="payment",
                    name="decline_code",
                    field=models.TextField(help_text="What the bank said.", null=True),
                ),
                migrations.AddField(
                    model_name="ratelimit",
                    name="refused_count",
                    field=models.BigIntegerField(
                        db_default=0,
                        help_text="Of a month: what was refused; unknown once permits were leased.",
                        null=True,
                    ),
                ),
                migrations.AddField(
                    model_name="user",
                    name="erased_at",
                    field=models.DateTimeField(
                        editable=False, help_text="When all that was said of them was erased.", null=True
                    ),
                ),
                migrations.AddField(
                    model_name="user",
                    name="legal_hold",
                    field=models.TextField(editable=False, help_text="Why the customer must not be erased.", null=True),
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
                            ("pay_invoice", "Try payment now"),
                        ]
                    ),
                ),
                migrations.AlterModelTable(
                    name="entitlement",
                    table="current_limits",
                ),
                migrations.CreateModel(
                    name="ExtraQuota",
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
                            "extra_requests",
                            models.BigIntegerField(
                                db_default=0,
                                help_text="More than the plan's, in each calendar month (UTC) that it touches.",
                                validators=[
                                    django.core.validators.MinValueValidator(0),
                                    django.core.validators.MaxValueValidator(1000000000000000),
                                ],
                                verbose_name="requests a month",
                            ),
                        ),
                        (
                            "extra_per_minute",
                            models.IntegerField(
                                db_default=0,
                                help_text="More than the plan's, for each key.",
                                validators=[
                                    django.core.validators.MinValueValidator(0),
                                    django.core.validators.MaxValueValidator(1000000000),
                                ],
                                verbose_name="requests a minute",
                            ),
                        ),
                        ("starts_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("ends_at", models.DateTimeField()),
                        ("reason", models.TextField()),
                        ("granted_by", models.TextField()),
                        (
                            "idempotency_key",
                            models.TextField(
                                editable=False,
                                help_text="The form or the change of plan that it came of.",
                                null=True,
                                unique=True,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "api_key",
                            models.ForeignKey(
                                help_text="Empty is all of the customer's keys.",
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to="billing.apikey",
                                verbose_name="API key",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="extra_quotas",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "extra quota",
                        "verbose_name_plural": "extra quota",
                        "db_table": "entitlement_grants",
                        "permissions": [("grant_extraquota", "Can grant and end extra quota")],
                        "default_permissions": ("view",),
                    },
                ),
                migrations.CreateModel(
                    name="PaymentCase",
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
                        ("stripe_invoice_id", models.TextField(unique=True, verbose_name="Stripe invoice")),
                        ("owner", models.TextField(help_text="Who looks after it.", null=True)),
                        ("extended_until_on", models.DateField(null=True, verbose_name="time until")),
                        ("extension_reason", models.TextField(null=True)),
                        ("extended_by", models.TextField(null=True)),
                        ("extended_at", models.DateTimeField(null=True)),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "payment_cases",
                        "default_permissions": (),
                    },
                ),
                migrations.CreateModel(
                    name="PaymentReminder",
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
                        ("stripe_invoice_id", models.TextField(verbose_name="Stripe invoice")),
                        ("email", models.TextField(verbose_name="e-mail")),
                        (
                            "token",
                            models.TextField(
                                help_text="The confirmation's: it sends one message at most.", unique=True
                            ),
                        ),
                        (
                            "state",
                            models.TextField(
                                choices=[("asked", "On its way"), ("sent", "Sent"), ("refused", "Refused")],
                                db_default="asked",
                            ),
                        ),
                        ("answer", models.TextField(db_default="")),
                        ("actor", models.TextField()),
                        ("reason", models.TextField()),
                        ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("settled_at", models.DateTimeField(null=True)),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "payment_reminders",
                        "default_permissions": (),
                    },
                ),
                migrations.CreateModel(
                    name="UsageCorrection",
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
                        ("month", models.DateField(help_text="Its first day, UTC.")),
                        (
                            "number",
                            models.IntegerField(editable=False, help_text="Which of the month's corrections it is."),
                        ),
                        (
                            "requests",
                            models.BigIntegerField(help_text="More, or with a minus fewer, than were recorded."),
                        ),
                        ("reason", models.TextField()),
                        ("made_by", models.TextField()),
                        (
                            "idempotency_key",
                            models.TextField(
                                editable=False, help_text="The form that it came of.", null=True, unique=True
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "api_key",
                            models.ForeignKey(
                                db_constraint=False,
                                help_text="Which key it was about; it changes nothing.",
                                null=True,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="+",
                                to="billing.apikey",
                                verbose_name="API key",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="usage_corrections",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "usage correction",
                        "db_table": "usage_corrections",
                        "permissions": [("correct_usage", "Can correct what a customer has used")],
                        "default_permissions": ("view",),
                    },
                ),
            ],
        ),
    ]
