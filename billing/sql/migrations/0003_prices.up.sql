-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

--! tables/plan_prices
ALTER TABLE plan_prices DROP CONSTRAINT plan_prices_tier_fkey;
ALTER TABLE plan_prices ADD CONSTRAINT plan_prices_tier_known CHECK (tier IN ('free', 'starter', 'professional', 'enterprise', 'none')) NOT VALID;
/* The table is now:
-- What a Stripe price, or each price of a product (prod_…), sells: support edits this, and it wins over what they say
-- themselves. `none` is nothing of ours: what another business sells on the same Stripe account.
CREATE TABLE plan_prices (
    stripe_price_id text PRIMARY KEY CONSTRAINT plan_prices_id_given CHECK (stripe_price_id <> ''),
    tier text NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT plan_prices_tier_known CHECK (tier IN ('free', 'starter', 'professional', 'enterprise', 'none')),
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

--! tables/stripe_catalogue
-- What Stripe's prices and products say themselves about the tier that they sell, as they were mirrored last. A NULL
-- named_tier says nothing; `none` is nothing of ours.
CREATE TABLE stripe_catalogue (
    stripe_id text CONSTRAINT stripe_catalogue_pkey PRIMARY KEY
    CONSTRAINT stripe_catalogue_id_given CHECK (stripe_id <> ''),
    stripe_product_id text,
    named_tier text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stripe_catalogue_tier_known CHECK (
        named_tier IN ('free', 'starter', 'professional', 'enterprise', 'none')
    ),
    CONSTRAINT stripe_catalogue_ids_short CHECK (
        octet_length(stripe_id) <= 255 AND octet_length(stripe_product_id) <= 255
    ),
    CONSTRAINT stripe_catalogue_texts_bounded CHECK (octet_length(named_tier) <= 63),
    CONSTRAINT stripe_catalogue_times_plausible CHECK (
        updated_at >= '1970-01-01 00:00:00+00' AND updated_at < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX stripe_catalogue_product ON stripe_catalogue (stripe_product_id) WHERE stripe_product_id IS NOT NULL;

--! views/unclaimed_prices
-- Prices that live subscriptions have and no plan claims any more. Their subscribers keep the plan that they had.
CREATE VIEW unclaimed_prices AS
SELECT
    s.stripe_price_id,
    count(*) AS subscribers
FROM subscriptions AS s
INNER JOIN stripe_catalogue AS p ON s.stripe_price_id = p.stripe_id
LEFT JOIN stripe_catalogue AS c ON p.stripe_product_id = c.stripe_id
LEFT JOIN plan_prices AS m ON s.stripe_price_id = m.stripe_price_id
LEFT JOIN plan_prices AS d ON p.stripe_product_id = d.stripe_price_id
WHERE
    s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
    AND coalesce(m.tier, d.tier, p.named_tier, c.named_tier) IS NULL
GROUP BY s.stripe_price_id;

--! triggers/stripe_catalogue
CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_catalogue
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();
