from django.db import migrations

import glyphforge.database.frozen_sql


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0001_baseline"),
    ]

    operations = [
        glyphforge.database.frozen_sql.RunSQLFile(
            app="billing",
            name="0002_bounds",
        ),
        # What was forged to take usage back goes; the rest of a row is made to fit what its requests can have been.
        migrations.RunSQL(
            """
            DELETE FROM api_usage_deltas WHERE total_requests <= 0;
            UPDATE api_usage_deltas
            SET
                month = date_trunc('month', least(greatest(month, '1970-01-01'), '2199-12-01')::timestamp)::date,
                failed_requests = least(greatest(failed_requests, 0), total_requests),
                max_response_time_ms = greatest(max_response_time_ms, 0),
                total_response_time_ms = least(
                    greatest(total_response_time_ms, 0), total_requests::bigint * greatest(max_response_time_ms, 0)
                ),
                last_request_at
                = least(greatest(last_request_at, '1970-01-01 00:00:00+00'), '2199-12-31 23:59:59+00');
            """,
            migrations.RunSQL.noop,
        ),
    ]
