from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0002_isolation'),
        ('billing', '0006_watch'),
        ('database', '0003_watch'),
        ('monitoring', '0003_stripe'),
        ('web', '0002_isolation'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='monitoring',
            name='0004_watch',
        ),
    ]
