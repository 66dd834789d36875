-- A statement on the parent fires only the parent's statement trigger, one straight into a partition only the
-- partition's: both have it, and nothing is counted twice. create_monthly_partition() adds it to new partitions.
CREATE TRIGGER count_usage AFTER INSERT ON api_usage
REFERENCING NEW TABLE AS new_requests
FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage();

CREATE TRIGGER count_usage AFTER INSERT ON api_usage_default
REFERENCING NEW TABLE AS new_requests
FOR EACH STATEMENT EXECUTE FUNCTION count_api_usage();

CREATE TRIGGER keep_counted BEFORE UPDATE OF user_id, api_key_id, status_code, response_time_ms, created_at ON api_usage
FOR EACH ROW EXECUTE FUNCTION refuse_usage_change();
