import glyphforge.database.frozen_sql
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('monitoring', '0001_baseline'),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app='monitoring',
            name='0002_remedies',
            state_operations=[migrations.CreateModel(
                name='DatabaseSession',
                fields=[
                    ('session_id', models.TextField(primary_key=True, serialize=False, verbose_name='session')),
                    ('pid', models.IntegerField(verbose_name='process')),
                    ('application_name', models.TextField(null=True, verbose_name='application')),
                    ('username', models.TextField(verbose_name='role')),
                    ('client', models.TextField(null=True, verbose_name='host')),
                    ('state', models.TextField()),
                    ('since', models.DateTimeField(null=True)),
                    ('transaction_since', models.DateTimeField(null=True, verbose_name='in a transaction since')),
                    ('wait_event', models.TextField(null=True, verbose_name='waits for')),
                    ('blocked_by', models.TextField(null=True)),
                    ('blocks', models.TextField(null=True)),
                    ('query', models.TextField(null=True, verbose_name='statement')),
                    ('is_own', models.BooleanField(verbose_name="this page's own")),
                ],
                options={
                    'verbose_name': 'connection',
                    'db_table': 'v_database_sessions',
                    'permissions': [('signal_databasesession', 'Can cancel queries and end sessions of the database')],
                    'managed': False,
                },
            ), migrations.CreateModel(
                name='IndexFinding',
                fields=[
                    ('index_name', models.TextField(primary_key=True, serialize=False, verbose_name='index')),
                    ('table_name', models.TextField(verbose_name='table')),
                    ('problem', models.TextField(choices=[('unused', 'Unused'), ('duplicate', 'Duplicate')])),
                    ('detail', models.TextField(verbose_name='why')),
                    ('bytes', models.BigIntegerField(verbose_name='size')),
                    ('scans', models.BigIntegerField(null=True, verbose_name='reads')),
                    ('definition', models.TextField()),
                ],
                options={
                    'verbose_name_plural': 'index findings',
                    'db_table': 'v_index_findings',
                    'managed': False,
                },
            ), migrations.CreateModel(
                name='SchemaDifference',
                fields=[
                    ('id', models.TextField(primary_key=True, serialize=False)),
                    ('problem', models.TextField(choices=[('missing', 'Missing'), ('different', 'Different'), ('extra', 'Extra')])),
                    ('kind', models.TextField()),
                    ('name', models.TextField()),
                    ('detail', models.TextField(null=True, verbose_name='what differs')),
                    ('sql', models.TextField(null=True, verbose_name='statements that mend it')),
                    ('found_at', models.DateTimeField(null=True, verbose_name='found')),
                ],
                options={
                    'verbose_name': 'schema difference',
                    'db_table': 'v_schema_differences',
                    'permissions': [('repair_schemadifference', "Can repair what differs in the database's schema")],
                    'managed': False,
                },
            ), migrations.CreateModel(
                name='TopQuery',
                fields=[
                    ('id', models.TextField(primary_key=True, serialize=False)),
                    ('query', models.TextField(null=True, verbose_name='statement')),
                    ('calls', models.BigIntegerField()),
                    ('total_ms', models.DecimalField(decimal_places=1, max_digits=30)),
                    ('mean_ms', models.DecimalField(decimal_places=2, max_digits=30)),
                    ('percent_of_time', models.DecimalField(decimal_places=1, max_digits=12, null=True)),
                    ('rows_returned', models.BigIntegerField()),
                    ('username', models.TextField(null=True, verbose_name='role')),
                ],
                options={
                    'verbose_name_plural': 'top queries',
                    'db_table': 'v_top_queries',
                    'managed': False,
                },
            ), migrations.AlterModelOptions(
                name='notification',
                options={'permissions': [('send_test_notification', 'Can send a test message')]},
            )],
        ),
    ]
