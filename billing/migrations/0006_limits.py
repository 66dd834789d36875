import django.db.models.deletion
from django.db import migrations, models

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0002_isolation'),
        ('billing', '0005_payment_movements'),
        ('database', '0002_isolation'),
        ('djstripe', '__latest__'),
        ('monitoring', '0003_stripe'),
        ('web', '0002_isolation'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='billing',
            name='0006_limits',
            state_operations=[migrations.AddField(
                model_name='apikey',
                name='key_fast_hash',
                field=models.TextField(editable=False, null=True),
            ), migrations.AddField(
                model_name='ratelimit',
                name='user',
                field=models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='billing.user'),
            )],
        ),
    ]
