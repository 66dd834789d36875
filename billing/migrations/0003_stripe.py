import django.contrib.postgres.fields
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
        ("djstripe", "__latest__"),
        ("monitoring", "0002_isolation"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0003_stripe",
            state_operations=[
                migrations.CreateModel(
                    name="Entitlement",
                    fields=[
                        (
                            "subscription",
                            models.OneToOneField(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                primary_key=True,
                                related_name="entitlement",
                                serialize=False,
                                to="billing.subscription",
                            ),
                        ),
                        (
                            "tier",
                            models.TextField(
                                choices=[
                                    ("free", "Free"),
                                    ("starter", "Starter"),
                                    ("professional", "Professional"),
                                    ("enterprise", "Enterprise"),
                                ],
                                verbose_name="plan whose limits hold",
                            ),
                        ),
                        (
                            "is_entitled",
                            models.BooleanField(
                                help_text="No: its status does not entitle, so that the free plan's limits hold."
                            ),
                        ),
                        ("monthly_request_limit", models.BigIntegerField(help_text="Empty is unlimited.", null=True)),
                        ("rate_limit_per_minute", models.IntegerField(help_text="Requests a minute and key.")),
                    ],
                    options={
                        "db_table": "entitlements",
                        "managed": False,
                    },
                ),
                migrations.CreateModel(
                    name="Backfill",
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
                            "status",
                            models.TextField(
                                choices=[("running", "Running"), ("finished", "Finished"), ("failed", "Failed")],
                                db_default="running",
                            ),
                        ),
                        ("requests", models.BigIntegerField(db_default=0)),
                        ("error", models.TextField(null=True)),
                        ("actor", models.TextField()),
                        ("reason", models.TextField()),
                        ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("finished_at", models.DateTimeField(null=True)),
                    ],
                    options={
                        "db_table": "stripe_backfills",
                        "ordering": ["-started_at"],
                    },
                ),
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
                migrations.AddField(
                    model_name="payment",
                    name="stripe_customer_id",
                    field=models.TextField(null=True, verbose_name="Stripe customer"),
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
                migrations.AddField(
                    model_name="reconciliationrun",
                    name="to_compare",
                    field=models.BigIntegerField(
                        db_default=0, help_text="About how many there are, by what is known here."
                    ),
                ),
                migrations.AddField(
                    model_name="subscription",
                    name="cancel_at",
                    field=models.DateTimeField(blank=True, null=True),
                ),
                migrations.AddField(
                    model_name="subscription",
                    name="collection_paused",
                    field=models.TextField(
                        blank=True,
                        choices=[
                            ("keep_as_draft", "Invoices are kept as drafts"),
                            ("mark_uncollectible", "Invoices are marked uncollectible"),
                            ("void", "Invoices are voided"),
                        ],
                        null=True,
                    ),
                ),
                migrations.AddField(
                    model_name="subscription",
                    name="collection_resumes_at",
                    field=models.DateTimeField(blank=True, null=True),
                ),
                migrations.AddField(
                    model_name="subscription",
                    name="stripe_customer_id",
                    field=models.TextField(editable=False, null=True, verbose_name="Stripe customer"),
                ),
                migrations.AddField(
                    model_name="subscription",
                    name="stripe_schedule_id",
                    field=models.TextField(blank=True, null=True, verbose_name="Stripe schedule"),
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
                    name="object_kind",
                    field=models.TextField(help_text="event, customer, subscription, charge or invoice."),
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
                    model_name="reconciliationrun",
                    name="phase",
                    field=models.TextField(
                        choices=[
                            ("events", "Events"),
                            ("customers", "Customers"),
                            ("subscriptions", "Subscriptions"),
                            ("charges", "Charges"),
                            ("invoices", "Invoices"),
                            ("unseen", "What Stripe did not list"),
                        ],
                        db_default="events",
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
                    name="BackfillList",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("kind", models.TextField()),
                        ("position", models.TextField(help_text="The last object of the last page.", null=True)),
                        (
                            "created_at",
                            models.DateTimeField(help_text="When that object was created at Stripe.", null=True),
                        ),
                        ("listed", models.BigIntegerField(db_default=0)),
                        ("added", models.BigIntegerField(db_default=0)),
                        ("changed", models.BigIntegerField(db_default=0)),
                        ("finished_at", models.DateTimeField(null=True)),
                        (
                            "backfill",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE, related_name="lists", to="billing.backfill"
                            ),
                        ),
                    ],
                    options={
                        "db_table": "stripe_backfill_lists",
                        "ordering": ["id"],
                    },
                ),
                migrations.CreateModel(
                    name="BackfillProblem",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("kind", models.TextField()),
                        ("stripe_id", models.TextField()),
                        ("problem", models.TextField()),
                        (
                            "backfill",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="problems",
                                to="billing.backfill",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "stripe_backfill_problems",
                        "ordering": ["id"],
                    },
                ),
                migrations.CreateModel(
                    name="OpenInvoice",
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
                        ("number", models.TextField(null=True)),
                        (
                            "status",
                            models.TextField(
                                choices=[("draft", "Draft"), ("open", "Open"), ("uncollectible", "Uncollectible")]
                            ),
                        ),
                        (
                            "amount_due_cents",
                            models.BigIntegerField(
                                help_text="Still to be paid.",
                                validators=[
                                    django.core.validators.MinValueValidator(1),
                                    django.core.validators.MaxValueValidator(999999999999999),
                                ],
                            ),
                        ),
                        (
                            "currency",
                            models.TextField(
                                db_default="usd",
                                validators=[
                                    django.core.validators.RegexValidator(
                                        "\\A[a-z]{3}\\Z", "A currency has three lower-case letters."
                                    )
                                ],
                            ),
                        ),
                        (
                            "attempt_count",
                            models.BigIntegerField(
                                db_default=0, validators=[django.core.validators.MinValueValidator(0)]
                            ),
                        ),
                        ("next_attempt_at", models.DateTimeField(null=True)),
                        ("due_at", models.DateTimeField(null=True)),
                        ("overdue_since", models.DateTimeField(null=True)),
                        ("failure_code", models.TextField(help_text="Of the last try.", null=True)),
                        ("hosted_invoice_url", models.TextField(null=True)),
                        (
                            "created_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "updated_at",
                            models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                        ),
                        (
                            "subscription",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="open_invoices",
                                to="billing.subscription",
                            ),
                        ),
                        (
                            "user",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="open_invoices",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "open_invoices",
                    },
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
                migrations.CreateModel(
                    name="StripeRequest",
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
                                    ("refund", "Refund"),
                                    ("cancel_now", "Cancel now"),
                                    ("cancel_at_period_end", "Cancel at period end"),
                                    ("resume", "Resume"),
                                    ("pause_collection", "Pause collection"),
                                    ("resume_collection", "Resume collection"),
                                    ("tag_customer", "Tag customer"),
                                    ("change_plan", "Change plan"),
                                ]
                            ),
                        ),
                        (
                            "stripe_object_id",
                            models.TextField(
                                help_text="The charge, subscription or customer.", verbose_name="Stripe object"
                            ),
                        ),
                        ("row_id", models.UUIDField(help_text="Our row that stands for the object.")),
                        (
                            "parameters",
                            models.JSONField(db_default={}, help_text="What was asked for; never a secret."),
                        ),
                        (
                            "idempotency_key",
                            models.TextField(help_text="Stripe does nothing twice under one key.", unique=True),
                        ),
                        (
                            "state",
                            models.TextField(
                                choices=[
                                    ("asked", "Asked"),
                                    ("done", "Done"),
                                    ("refused", "Refused"),
                                    ("unknown", "Unknown"),
                                ],
                                db_default="asked",
                            ),
                        ),
                        ("answer_id", models.TextField(help_text="What Stripe made or changed.", null=True)),
                        (
                            "answer",
                            models.TextField(db_default="", help_text="What Stripe said, or what it was seen by."),
                        ),
                        ("actor", models.TextField()),
                        ("reason", models.TextField()),
                        ("audit_id", models.BigIntegerField(null=True)),
                        ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        (
                            "looked_at",
                            models.DateTimeField(help_text="When Stripe was last asked what became of it.", null=True),
                        ),
                        ("settled_at", models.DateTimeField(null=True)),
                        (
                            "user",
                            models.ForeignKey(
                                null=True,
                                on_delete=django.db.models.deletion.SET_NULL,
                                related_name="+",
                                to="billing.user",
                                verbose_name="customer",
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "request to Stripe",
                        "verbose_name_plural": "requests to Stripe",
                        "db_table": "stripe_requests",
                        "ordering": ["-asked_at"],
                    },
                ),
            ],
        ),
    ]
