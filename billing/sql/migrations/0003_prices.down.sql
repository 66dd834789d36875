-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DO $$ BEGIN DROP TABLE IF EXISTS pg_temp.kept_rights; END $$;
CREATE TEMPORARY TABLE kept_rights ON COMMIT DROP AS
SELECT
    c.relname,
    format(
        'GRANT %s ON %I TO %s', a.privilege_type, c.relname,
        CASE a.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    ) AS statement
FROM pg_class AS c
CROSS JOIN aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN ('unclaimed_prices') AND a.grantee <> c.relowner;

DROP VIEW unclaimed_prices;

ALTER TABLE plan_prices DROP CONSTRAINT plan_prices_tier_known;
ALTER TABLE plan_prices ADD CONSTRAINT plan_prices_tier_fkey FOREIGN KEY (tier) REFERENCES plans (tier) ON DELETE RESTRICT NOT VALID;
/* The table is now:
-- Which Stripe prices sell a tier. Support edits this; it wins over a price's metadata and lookup key.
CREATE TABLE plan_prices (
    stripe_price_id text PRIMARY KEY CONSTRAINT plan_prices_id_given CHECK (stripe_price_id <> ''),
    tier text NOT NULL CONSTRAINT plan_prices_tier_fkey REFERENCES plans (tier) ON DELETE RESTRICT,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- It stands in the address of its page.
    CONSTRAINT plan_prices_id_plain CHECK (stripe_price_id ~ '^[A-Za-z0-9_-]+$'),
    CONSTRAINT plan_prices_texts_bounded CHECK (
        octet_length(stripe_price_id) <= 255 AND octet_length(tier) <= 63 AND octet_length(note) <= 800
    ),
    CONSTRAINT plan_prices_times_plausible CHECK (
        least(created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX plan_prices_tier ON plan_prices (tier);
*/

DROP TRIGGER set_updated_at ON stripe_catalogue;

-- Gone.

DROP TABLE stripe_catalogue;

--!
DO $$
DECLARE
    kept record;
BEGIN
    -- A view that is gone has no rights.
    FOR kept IN SELECT k.statement FROM kept_rights AS k WHERE to_regclass(quote_ident(k.relname)) IS NOT NULL LOOP
        EXECUTE kept.statement;
    END LOOP;
    -- Another migration of this transaction may keep rights, too.
    DROP TABLE kept_rights;
END
$$;
