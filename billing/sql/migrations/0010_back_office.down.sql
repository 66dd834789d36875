-- The extension stays: others may use it.
DROP INDEX users_trigrams;
DROP INDEX users_status;
DROP INDEX subscriptions_created_at;
DROP INDEX subscriptions_status;
DROP INDEX subscriptions_tier;
DROP INDEX api_keys_created_at;
DROP INDEX api_keys_environment;
DROP INDEX api_keys_revoked;
DROP INDEX payment_history_created_at;
DROP INDEX payment_history_status;
DROP INDEX stripe_webhook_events_status;
DROP INDEX audit_log_table;
DROP TABLE customer_notes;
