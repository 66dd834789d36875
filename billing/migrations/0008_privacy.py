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
        ("staff", "0001_accounts"),
        ("web", "0002_isolation"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0008_privacy",
            state_operations=[
                migrations.AlterModelOptions(
                    name="user",
                    options={
                        "permissions": [
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
            ],
        ),
    ]
