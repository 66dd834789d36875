-- Functions that run with their owner's rights are for those who were granted them.
REVOKE EXECUTE ON FUNCTION roll_up_usage() FROM public;
REVOKE EXECUTE ON FUNCTION create_api_usage_partitions(int) FROM public;
REVOKE EXECUTE ON FUNCTION create_audit_log_partitions(int) FROM public;
REVOKE EXECUTE ON FUNCTION cleanup_old_api_usage(int) FROM public;
REVOKE EXECUTE ON FUNCTION cleanup_audit_log(int) FROM public;
REVOKE EXECUTE ON FUNCTION analyze_partitioned_tables() FROM public;
REVOKE EXECUTE ON FUNCTION record_api_usage FROM public;
REVOKE EXECUTE ON FUNCTION check_rate_limit(uuid) FROM public;
REVOKE EXECUTE ON FUNCTION audit_row_change() FROM public;
