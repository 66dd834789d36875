-- What a customer had once and has no more: whose it was is kept by these rows alone.
CREATE INDEX audit_log_former_user ON audit_log ((old_values ->> 'user_id'), table_name)
WHERE (old_values ->> 'user_id') IS NOT NULL;
CREATE INDEX audit_log_former_payment ON audit_log ((old_values ->> 'payment_id'), table_name)
WHERE (old_values ->> 'payment_id') IS NOT NULL;
