-- A key's hash, never the key: the prefix finds the row, bcrypt checks the rest. key_fast_hash spares bcrypt: the HMAC
-- of key and key_hash under a secret that the database does not hold; NULL until the key was checked under it.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL DEFAULT '',
    environment text NOT NULL DEFAULT 'development',
    key_prefix text NOT NULL,
    key_hash text NOT NULL,
    key_fast_hash text,
    usage_count bigint NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    replaced_at timestamptz,
    CONSTRAINT api_keys_environment_known CHECK (environment IN ('development', 'staging', 'production')),
    CONSTRAINT api_keys_prefix_short CHECK (length(key_prefix) BETWEEN 1 AND 32),
    CONSTRAINT api_keys_hash_is_no_key CHECK (key_hash <> '' AND key_hash NOT LIKE 'glyph\_sk\_%'),
    CONSTRAINT api_keys_fast_hash_sha256 CHECK (key_fast_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT api_keys_usage_not_negative CHECK (usage_count >= 0),
    -- Far from what a bigint holds: counting stops there, and never fails.
    CONSTRAINT api_keys_usage_possible CHECK (usage_count <= 1000000000000000),
    CONSTRAINT api_keys_reason_needs_revocation CHECK (revoked_reason IS NULL OR revoked_at IS NOT NULL),
    CONSTRAINT api_keys_replaced_ends CHECK (replaced_at IS NULL OR expires_at IS NOT NULL),
    CONSTRAINT api_keys_texts_bounded CHECK (
        octet_length(name) <= 800 AND octet_length(key_hash) <= 255 AND octet_length(revoked_reason) <= 8192
    ),
    CONSTRAINT api_keys_times_plausible CHECK (
        least(last_used_at, expires_at, revoked_at, created_at, updated_at, replaced_at) >= '1970-01-01 00:00:00+00'
        AND greatest(
            last_used_at, expires_at, revoked_at, created_at, updated_at, replaced_at
        ) < '2200-01-01 00:00:00+00'
    )
)
-- Half-empty pages keep the counters' updates on the same page, without index writes.
WITH (fillfactor = 70);

CREATE INDEX api_keys_prefix ON api_keys (key_prefix text_pattern_ops);
CREATE INDEX api_keys_user_id ON api_keys (user_id, created_at);
CREATE INDEX api_keys_usable ON api_keys (user_id) INCLUDE (expires_at) WHERE revoked_at IS NULL;

-- The back office's sorts and filters.
CREATE INDEX api_keys_created_at ON api_keys (created_at);
CREATE INDEX api_keys_environment ON api_keys (environment, created_at DESC);
CREATE INDEX api_keys_revoked ON api_keys (created_at DESC) WHERE revoked_at IS NOT NULL;
