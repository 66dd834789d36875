-- As guard_api_key_counters(), for the usage that sync_subscription_usage() maintains.
CREATE FUNCTION guard_subscription_counters() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.usage_count := OLD.usage_count;
    NEW.usage_synced_at := OLD.usage_synced_at;
    RETURN NEW;
END
$$;
