from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0002_isolation'),
        ('billing', '0005_payment_movements'),
        ('database', '0003_watch'),
        ('djstripe', '__latest__'),
        ('monitoring', '0003_stripe'),
        ('web', '0002_isolation'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='billing',
            name='0006_watch',
        ),
    ]
