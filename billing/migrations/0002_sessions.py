import glyphforge.database.frozen_sql
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0001_baseline'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='billing',
            name='0002_sessions',
        ),
    ]
