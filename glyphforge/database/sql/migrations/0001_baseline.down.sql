-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP FUNCTION run_maintenance_tasks;

DROP FUNCTION retention_cutoff;

DROP FUNCTION partition_key;

DROP FUNCTION monthly_partitions;

DROP FUNCTION lock_for_partitions;

DROP FUNCTION drop_partitions_before;

DROP FUNCTION create_monthly_partitions;

DROP FUNCTION create_monthly_partition;

DROP FUNCTION analyze_partitioned_tables;

DROP TABLE backup_runs;

DROP FUNCTION set_updated_at;
