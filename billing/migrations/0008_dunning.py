import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0003_seals'),
        ('billing', '0007_rate_limit_months'),
        ('database', '0003_watch'),
        ('djstripe', '__latest__'),
        ('monitoring', '0004_watch'),
        ('staff', '0001_accounts'),
        ('web', '0002_isolation'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='billing',
            name='0008_dunning',
            state_operations=[migrations.CreateModel(
                name='ChargedCard',
                fields=[
                    ('subscription', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='charged_card', serialize=False, to='billing.subscription')),
                    ('payment_method_id', models.TextField(null=True, verbose_name='payment method')),
                    ('brand', models.TextField(null=True)),
                    ('last4', models.TextField(null=True)),
                    ('expires_on', models.DateField(help_text='The last day on which it can be charged.', null=True)),
                ],
                options={
                    'db_table': 'charged_cards',
                    'managed': False,
                    'default_permissions': (),
                },
            ), migrations.CreateModel(
                name='UpcomingInvoice',
                fields=[
                    ('subscription', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='upcoming_invoice', serialize=False, to='billing.subscription')),
                    ('content', models.JSONField(null=True)),
                    ('told_at', models.DateTimeField(help_text='When Stripe said it.', null=True)),
                    ('problem', models.TextField(db_default='', help_text='Why it could not be asked the last time.')),
                    ('asked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'db_table': 'upcoming_invoices',
                    'default_permissions': (),
                },
            ), migrations.AlterModelOptions(
                name='openinvoice',
                options={'permissions': [('settle_invoice', 'Can void an invoice, give it up or mark it as paid at Stripe'), ('collect_invoice', 'Can have an unpaid invoice charged again'), ('chase_invoice', 'Can look after an unpaid invoice: send its payment link, give the customer time')], 'verbose_name': 'unpaid invoice'},
            ), migrations.AddField(
                model_name='openinvoice',
                name='decline_code',
                field=models.TextField(help_text='What the bank said at the last try.', null=True),
            ), migrations.AddField(
                model_name='payment',
                name='decline_code',
                field=models.TextField(help_text='What the bank said.', null=True),
            ), migrations.AlterField(
                model_name='striperequest',
                name='kind',
                field=models.TextField(choices=[('refund', 'Refund'), ('cancel_now', 'Cancel now'), ('cancel_at_period_end', 'Cancel at period end'), ('resume', 'Resume'), ('pause_collection', 'Pause collection'), ('resume_collection', 'Resume collection'), ('tag_customer', 'Tag customer'), ('change_plan', 'Change plan'), ('change_plan_at_period_end', 'Change plan at period end'), ('release_schedule', 'Take back planned changes'), ('extend_trial', 'Extend trial'), ('apply_coupon', 'Apply coupon'), ('remove_coupon', 'Remove coupon'), ('credit', 'Credit'), ('void_invoice', 'Void invoice'), ('mark_paid', 'Mark invoice paid'), ('mark_uncollectible', 'Mark invoice uncollectible'), ('pay_invoice', 'Try payment now')]),
            ), migrations.CreateModel(
                name='PaymentCase',
                fields=[
                    ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), editable=False, primary_key=True, serialize=False)),
                    ('stripe_invoice_id', models.TextField(unique=True, verbose_name='Stripe invoice')),
                    ('owner', models.TextField(help_text='Who looks after it.', null=True)),
                    ('extended_until_on', models.DateField(null=True, verbose_name='time until')),
                    ('extension_reason', models.TextField(null=True)),
                    ('extended_by', models.TextField(null=True)),
                    ('extended_at', models.DateTimeField(null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='billing.user', verbose_name='customer')),
                ],
                options={
                    'db_table': 'payment_cases',
                    'default_permissions': (),
                },
            ), migrations.CreateModel(
                name='PaymentReminder',
                fields=[
                    ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), editable=False, primary_key=True, serialize=False)),
                    ('stripe_invoice_id', models.TextField(verbose_name='Stripe invoice')),
                    ('email', models.TextField(verbose_name='e-mail')),
                    ('token', models.TextField(help_text="The confirmation's: it sends one message at most.", unique=True)),
                    ('state', models.TextField(choices=[('asked', 'On its way'), ('sent', 'Sent'), ('refused', 'Refused')], db_default='asked')),
                    ('answer', models.TextField(db_default='')),
                    ('actor', models.TextField()),
                    ('reason', models.TextField()),
                    ('asked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('settled_at', models.DateTimeField(null=True)),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='billing.user', verbose_name='customer')),
                ],
                options={
                    'db_table': 'payment_reminders',
                    'default_permissions': (),
                },
            )],
        ),
    ]
