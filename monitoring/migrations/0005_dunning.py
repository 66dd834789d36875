import django.db.models.deletion
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0003_seals'),
        ('billing', '0008_dunning'),
        ('database', '0003_watch'),
        ('monitoring', '0004_watch'),
        ('staff', '0001_accounts'),
        ('web', '0002_isolation'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='monitoring',
            name='0005_dunning',
            state_operations=[migrations.CreateModel(
                name='ExpiringCard',
                fields=[
                    ('subscription', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to='billing.subscription')),
                    ('email', models.TextField(null=True, verbose_name='e-mail')),
                    ('card_brand', models.TextField(null=True)),
                    ('card_last4', models.TextField(null=True)),
                    ('card_expires_on', models.DateField(verbose_name='expires')),
                    ('next_charge_at', models.DateTimeField(verbose_name='charged next')),
                    ('tier', models.TextField(choices=[('free', 'Free'), ('starter', 'Starter'), ('professional', 'Professional'), ('enterprise', 'Enterprise')], verbose_name='plan')),
                    ('mrr_cents', models.BigIntegerField(verbose_name='MRR')),
                    ('currency', models.TextField()),
                ],
                options={
                    'db_table': 'v_expiring_cards',
                    'managed': False,
                },
            ), migrations.CreateModel(
                name='PaymentAtRisk',
                fields=[
                    ('id', models.UUIDField(primary_key=True, serialize=False)),
                    ('email', models.TextField(null=True, verbose_name='e-mail')),
                    ('stripe_invoice_id', models.TextField(verbose_name='Stripe invoice')),
                    ('amount_due_cents', models.BigIntegerField(verbose_name='to pay')),
                    ('currency', models.TextField()),
                    ('mrr_cents', models.BigIntegerField(verbose_name='MRR')),
                    ('attempt_count', models.BigIntegerField(verbose_name='tries')),
                    ('failure_code', models.TextField(null=True)),
                    ('next_attempt_at', models.DateTimeField(null=True, verbose_name='next try')),
                    ('overdue_since', models.DateTimeField()),
                    ('days_overdue', models.DecimalField(decimal_places=2, max_digits=12)),
                    ('number', models.TextField(null=True)),
                    ('tier', models.TextField(choices=[('free', 'Free'), ('starter', 'Starter'), ('professional', 'Professional'), ('enterprise', 'Enterprise')], verbose_name='plan')),
                    ('subscription_status', models.TextField(choices=[('incomplete', 'Incomplete'), ('incomplete_expired', 'Incomplete, expired'), ('trialing', 'Trialing'), ('active', 'Active'), ('past_due', 'Past due'), ('unpaid', 'Unpaid'), ('paused', 'Paused'), ('canceled', 'Canceled')], verbose_name='status')),
                    ('decline_code', models.TextField(null=True)),
                    ('reason', models.TextField(null=True, verbose_name='why')),
                    ('card_brand', models.TextField(null=True)),
                    ('card_last4', models.TextField(null=True)),
                    ('card_expires_on', models.DateField(null=True)),
                    ('last_contact_at', models.DateTimeField(null=True, verbose_name='last contact')),
                    ('owner', models.TextField(null=True)),
                    ('extended_until_on', models.DateField(null=True, verbose_name='time until')),
                    ('is_extended', models.BooleanField(null=True, verbose_name='has time')),
                ],
                options={
                    'verbose_name': 'payment at risk',
                    'verbose_name_plural': 'payments at risk',
                    'db_table': 'v_payments_at_risk',
                    'managed': False,
                },
            ), migrations.CreateModel(
                name='PaymentRecovery',
                fields=[
                    ('id', models.TextField(primary_key=True, serialize=False)),
                    ('month', models.DateField()),
                    ('code', models.TextField()),
                    ('reason', models.TextField(verbose_name='why')),
                    ('currency', models.TextField()),
                    ('failed', models.BigIntegerField()),
                    ('recovered', models.BigIntegerField()),
                    ('lost', models.BigIntegerField()),
                    ('open', models.BigIntegerField()),
                    ('failed_cents', models.BigIntegerField(verbose_name='failed amount')),
                    ('recovered_cents', models.BigIntegerField(verbose_name='recovered amount')),
                    ('lost_cents', models.BigIntegerField(verbose_name='lost amount')),
                    ('open_cents', models.BigIntegerField(verbose_name='open amount')),
                    ('mean_days', models.DecimalField(decimal_places=2, max_digits=12, null=True, verbose_name='days to recover')),
                    ('recovered_percent', models.DecimalField(decimal_places=2, max_digits=12, null=True)),
                ],
                options={
                    'verbose_name': 'month of recovery',
                    'verbose_name_plural': 'recovery of failed payments',
                    'db_table': 'v_payment_recovery',
                    'managed': False,
                },
            )],
        ),
    ]
