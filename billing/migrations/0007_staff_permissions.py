from django.db import migrations


class Migration(migrations.Migration):
    """Permissions for what staff may do beyond reading."""

    dependencies = [("billing", "0006_replay_and_reconciliation")]

    operations = [
        migrations.AlterModelOptions(
            name="apikey",
            options={
                "verbose_name": "API key",
                "permissions": [
                    ("rotate_apikey", "Can replace an API key by a new one"),
                    ("revoke_apikey", "Can revoke an API key"),
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="payment", options={"permissions": [("refund_payment", "Can refund a payment at Stripe")]}
        ),
        migrations.AlterModelOptions(
            name="planprice",
            options={
                "ordering": ["plan", "stripe_price_id"],
                "permissions": [("map_planprice", "Can say which tier a Stripe price sells")],
            },
        ),
        migrations.AlterModelOptions(
            name="subscription",
            options={"permissions": [("cancel_subscription", "Can cancel a subscription at Stripe")]},
        ),
        migrations.AlterModelOptions(
            name="user",
            options={
                "verbose_name": "customer",
                "permissions": [
                    ("fix_orphans", "Can give customers without a subscription the free tier"),
                    ("link_customer", "Can link a Stripe customer to a customer"),
                    ("suspend_user", "Can suspend and reactivate a customer"),
                    ("sync_customer", "Can fetch a customer's state from Stripe"),
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="webhookevent",
            options={
                "permissions": [
                    ("retry_webhookevent", "Can retry failed webhook events"),
                    ("replay_webhookevent", "Can process any webhook event again"),
                ]
            },
        ),
    ]
