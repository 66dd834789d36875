import django.contrib.postgres.functions
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import glyphforge.database.frozen_sql
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0002_isolation'),
        ('billing', '0002_isolation'),
        ('database', '0002_isolation'),
        ('monitoring', '0002_isolation'),
        ('web', '0002_isolation'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='billing',
            name='0003_states',
            state_operations=[migrations.CreateModel(
                name='Entitlement',
                fields=[
                    ('subscription', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='entitlement', serialize=False, to='billing.subscription')),
                    ('tier', models.TextField(choices=[('free', 'Free'), ('starter', 'Starter'), ('professional', 'Professional'), ('enterprise', 'Enterprise')], verbose_name='plan whose limits hold')),
                    ('is_entitled', models.BooleanField(help_text="No: its status does not entitle, so that the free plan's limits hold.")),
                    ('monthly_request_limit', models.BigIntegerField(help_text='Empty is unlimited.', null=True)),
                    ('rate_limit_per_minute', models.IntegerField(help_text='Requests a minute and key.')),
                ],
                options={
                    'db_table': 'entitlements',
                    'managed': False,
                },
            ), migrations.AddField(
                model_name='reconciliationrun',
                name='to_compare',
                field=models.BigIntegerField(db_default=0, help_text='About how many there are, by what is known here.'),
            ), migrations.AddField(
                model_name='subscription',
                name='cancel_at',
                field=models.DateTimeField(blank=True, null=True),
            ), migrations.AddField(
                model_name='subscription',
                name='collection_paused',
                field=models.TextField(blank=True, choices=[('keep_as_draft', 'Invoices are kept as drafts'), ('mark_uncollectible', 'Invoices are marked uncollectible'), ('void', 'Invoices are voided')], null=True),
            ), migrations.AddField(
                model_name='subscription',
                name='collection_resumes_at',
                field=models.DateTimeField(blank=True, null=True),
            ), migrations.AddField(
                model_name='subscription',
                name='stripe_schedule_id',
                field=models.TextField(blank=True, null=True, verbose_name='Stripe schedule'),
            ), migrations.AlterField(
                model_name='difference',
                name='object_kind',
                field=models.TextField(help_text='event, customer, subscription, charge or invoice.'),
            ), migrations.AlterField(
                model_name='reconciliationrun',
                name='phase',
                field=models.TextField(choices=[('events', 'Events'), ('customers', 'Customers'), ('subscriptions', 'Subscriptions'), ('charges', 'Charges'), ('invoices', 'Invoices'), ('unseen', 'What Stripe did not list')], db_default='events'),
            ), migrations.CreateModel(
                name='OpenInvoice',
                fields=[
                    ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), editable=False, primary_key=True, serialize=False)),
                    ('stripe_invoice_id', models.TextField(unique=True, verbose_name='Stripe invoice')),
                    ('number', models.TextField(null=True)),
                    ('status', models.TextField(choices=[('draft', 'Draft'), ('open', 'Open'), ('uncollectible', 'Uncollectible')])),
                    ('amount_due_cents', models.BigIntegerField(help_text='Still to be paid.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(999999999999999)])),
                    ('currency', models.TextField(db_default='usd', validators=[django.core.validators.RegexValidator('\\A[a-z]{3}\\Z', 'A currency has three lower-case letters.')])),
                    ('attempt_count', models.BigIntegerField(db_default=0, validators=[django.core.validators.MinValueValidator(0)])),
                    ('next_attempt_at', models.DateTimeField(null=True)),
                    ('due_at', models.DateTimeField(null=True)),
                    ('overdue_since', models.DateTimeField(null=True)),
                    ('failure_code', models.TextField(help_text='Of the last try.', null=True)),
                    ('hosted_invoice_url', models.TextField(null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('subscription', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='open_invoices', to='billing.subscription')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='open_invoices', to='billing.user', verbose_name='customer')),
                ],
                options={
                    'db_table': 'open_invoices',
                },
            )],
        ),
    ]
