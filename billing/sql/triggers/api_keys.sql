-- Triggers fire in the order of their names: the guard comes before set_updated_at compares the row.
CREATE TRIGGER guard_counters BEFORE UPDATE OF usage_count, last_used_at ON api_keys
FOR EACH ROW WHEN (current_setting('app.counting', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION guard_api_key_counters();

CREATE TRIGGER keep_revoked BEFORE UPDATE OF revoked_at ON api_keys
FOR EACH ROW WHEN (old.revoked_at IS NOT NULL AND new.revoked_at IS DISTINCT FROM old.revoked_at)
EXECUTE FUNCTION keep_api_key_revoked();

-- Being used and being checked is no change of the key: updated_at stays what support looks for.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON api_keys
FOR EACH ROW
WHEN (
    old.* IS DISTINCT FROM new.*
    AND old.usage_count = new.usage_count
    AND old.last_used_at IS NOT DISTINCT FROM new.last_used_at
    AND old.key_fast_hash IS NOT DISTINCT FROM new.key_fast_hash
)
EXECUTE FUNCTION set_updated_at();

-- All columns but the counters, which the fold moves for every key that was used: it must not pay for an audit; and but
-- the fast hash, which is derived.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
id, user_id, name, environment, key_prefix, key_hash, expires_at, replaced_at, revoked_at, revoked_reason, created_at
ON api_keys
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'usage_count', 'last_used_at', 'key_fast_hash');
