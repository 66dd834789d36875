DROP TABLE unmatched_stripe_customers;
DROP TABLE stripe_tombstones;

UPDATE users SET email = id || '@deleted.invalid' WHERE email IS NULL;
ALTER TABLE users ALTER COLUMN email SET NOT NULL;
