import django.contrib.postgres.functions
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
            name='0003_acts',
            state_operations=[migrations.CreateModel(
                name='StripeRequest',
                fields=[
                    ('id', models.UUIDField(db_default=django.contrib.postgres.functions.RandomUUID(), editable=False, primary_key=True, serialize=False)),
                    ('kind', models.TextField(choices=[('refund', 'Refund'), ('cancel_now', 'Cancel now'), ('cancel_at_period_end', 'Cancel at period end'), ('resume', 'Resume'), ('pause_collection', 'Pause collection'), ('resume_collection', 'Resume collection'), ('tag_customer', 'Tag customer'), ('change_plan', 'Change plan')])),
                    ('stripe_object_id', models.TextField(help_text='The charge, subscription or customer.', verbose_name='Stripe object')),
                    ('row_id', models.UUIDField(help_text='Our row that stands for the object.')),
                    ('parameters', models.JSONField(db_default={}, help_text='What was asked for; never a secret.')),
                    ('idempotency_key', models.TextField(help_text='Stripe does nothing twice under one key.', unique=True)),
                    ('state', models.TextField(choices=[('asked', 'Asked'), ('done', 'Done'), ('refused', 'Refused'), ('unknown', 'Unknown')], db_default='asked')),
                    ('answer_id', models.TextField(help_text='What Stripe made or changed.', null=True)),
                    ('answer', models.TextField(db_default='', help_text='What Stripe said, or what it was seen by.')),
                    ('actor', models.TextField()),
                    ('reason', models.TextField()),
                    ('audit_id', models.BigIntegerField(null=True)),
                    ('asked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('looked_at', models.DateTimeField(help_text='When Stripe was last asked what became of it.', null=True)),
                    ('settled_at', models.DateTimeField(null=True)),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='billing.user', verbose_name='customer')),
                ],
                options={
                    'verbose_name': 'request to Stripe',
                    'verbose_name_plural': 'requests to Stripe',
                    'db_table': 'stripe_requests',
                    'ordering': ['-asked_at'],
                },
            )],
        ),
    ]
