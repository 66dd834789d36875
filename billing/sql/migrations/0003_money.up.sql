-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER set_updated_at ON payment_history;

--! tables/payment_history
ALTER TABLE payment_history DROP CONSTRAINT payment_history_texts_bounded;
ALTER TABLE payment_history DROP CONSTRAINT payment_history_times_plausible;
ALTER TABLE payment_history ADD COLUMN disputed_cents bigint NOT NULL DEFAULT 0;
ALTER TABLE payment_history ADD COLUMN paid_out_of_band boolean NOT NULL DEFAULT false;
ALTER TABLE payment_history ADD COLUMN attempt_count bigint NOT NULL DEFAULT 0;
ALTER TABLE payment_history ADD COLUMN next_attempt_at timestamptz;
ALTER TABLE payment_history ADD COLUMN failure_code text;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_disputed_not_negative CHECK (disputed_cents >= 0) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_attempts_not_negative CHECK (attempt_count >= 0) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_out_of_band_without_charge CHECK ( NOT paid_out_of_band OR (stripe_charge_id IS NULL AND stripe_invoice_id IS NOT NULL) ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_texts_bounded CHECK ( octet_length(failure_code) <= 255 AND octet_length(failure_message) <= 8192 AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192 ) NOT VALID;
ALTER TABLE payment_history ADD CONSTRAINT payment_history_times_plausible CHECK ( least(paid_at, next_attempt_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(paid_at, next_attempt_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
CREATE UNIQUE INDEX payment_history_out_of_band ON payment_history (stripe_invoice_id) WHERE paid_out_of_band;
/* The table is now:
-- One row a charge, failed ones included, and one an invoice that was paid outside of Stripe. refunded_cents,
-- disputed_cents and paid_at are sums of payment_movements, and triggers keep them so. Financial records: a user with
-- payments cannot be deleted.
CREATE TABLE payment_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT payment_history_user_id_fkey REFERENCES users (id) ON DELETE RESTRICT,
    stripe_invoice_id text,
    stripe_payment_intent_id text,
    stripe_charge_id text CONSTRAINT payment_history_stripe_charge_id_key UNIQUE,
    amount_cents bigint NOT NULL,
    currency text NOT NULL DEFAULT 'usd',
    status text NOT NULL DEFAULT 'pending',
    refunded_cents bigint NOT NULL DEFAULT 0,
    disputed_cents bigint NOT NULL DEFAULT 0,
    paid_out_of_band boolean NOT NULL DEFAULT false,
    attempt_count bigint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    failure_code text,
    failure_message text,
    invoice_url text,
    receipt_url text,
    paid_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_history_status_known CHECK (status IN (
        'pending', 'succeeded', 'failed', 'refunded', 'partially_refunded', 'disputed'
    )),
    CONSTRAINT payment_history_amount_not_negative CHECK (amount_cents >= 0),
    CONSTRAINT payment_history_refund_within_amount CHECK (refunded_cents BETWEEN 0 AND amount_cents),
    CONSTRAINT payment_history_disputed_not_negative CHECK (disputed_cents >= 0),
    CONSTRAINT payment_history_attempts_not_negative CHECK (attempt_count >= 0),
    -- Of what was paid outside of Stripe only the invoice is known.
    CONSTRAINT payment_history_out_of_band_without_charge CHECK (
        NOT paid_out_of_band OR (stripe_charge_id IS NULL AND stripe_invoice_id IS NOT NULL)
    ),
    CONSTRAINT payment_history_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    -- An empty string is not "no id": Stripe cannot be asked for it.
    CONSTRAINT payment_history_ids_given CHECK (
        stripe_invoice_id <> '' AND stripe_payment_intent_id <> '' AND stripe_charge_id <> ''
    ),
    CONSTRAINT payment_history_ids_short CHECK (
        octet_length(stripe_invoice_id) <= 255 AND octet_length(stripe_payment_intent_id) <= 255
        AND octet_length(stripe_charge_id) <= 255
    ),
    CONSTRAINT payment_history_texts_bounded CHECK (
        octet_length(failure_code) <= 255 AND octet_length(failure_message) <= 8192
        AND octet_length(invoice_url) <= 8192 AND octet_length(receipt_url) <= 8192
    ),
    -- Stripe's largest amount: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    CONSTRAINT payment_history_amount_possible CHECK (amount_cents <= 999999999999),
    CONSTRAINT payment_history_times_plausible CHECK (
        least(paid_at, next_attempt_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(paid_at, next_attempt_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX payment_history_user_id ON payment_history (user_id, created_at DESC);
CREATE INDEX payment_history_stripe_invoice_id ON payment_history (
    stripe_invoice_id
) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_history_stripe_payment_intent_id ON payment_history (stripe_payment_intent_id)
WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX payment_history_paid_at ON payment_history (paid_at)
INCLUDE (amount_cents, refunded_cents, currency, status) WHERE paid_at IS NOT NULL;
CREATE UNIQUE INDEX payment_history_out_of_band ON payment_history (stripe_invoice_id) WHERE paid_out_of_band;
CREATE INDEX payment_history_failures ON payment_history (created_at) WHERE status IN ('failed', 'disputed');

-- The back office's sorts and filters.
CREATE INDEX payment_history_created_at ON payment_history (created_at);
CREATE INDEX payment_history_status ON payment_history (status, created_at DESC);
*/

--! tables/payment_movements
-- What came in for a payment and went out again, signed and dated: payment_history's totals and every figure of money
-- are sums of these rows. Append-only, one row a fact; what turns out to be wrong is put right by further rows of the
-- same fact, counted by "number". They go only with their payment, which the next sync brings back from Stripe.
CREATE TABLE payment_movements (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    payment_id uuid NOT NULL
    CONSTRAINT payment_movements_payment_id_fkey REFERENCES payment_history (id) ON DELETE CASCADE,
    kind text NOT NULL,
    stripe_object_id text NOT NULL,
    number bigint NOT NULL DEFAULT 1,
    amount_cents bigint NOT NULL,
    currency text NOT NULL,
    occurred_at timestamptz NOT NULL,
    origin text NOT NULL DEFAULT 'stripe',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_movements_one_a_fact UNIQUE (payment_id, kind, stripe_object_id, number),
    CONSTRAINT payment_movements_kind_known CHECK (kind IN (
        'charge', 'refund', 'refund_failed', 'dispute', 'dispute_reversed'
    )),
    CONSTRAINT payment_movements_number_possible CHECK (number BETWEEN 1 AND 1000000),
    -- What corrects a row has the other sign.
    CONSTRAINT payment_movements_sign_fits CHECK (
        amount_cents <> 0 AND (number > 1 OR (amount_cents > 0) = (kind NOT IN ('refund', 'dispute')))
    ),
    CONSTRAINT payment_movements_amount_possible CHECK (amount_cents BETWEEN -999999999999 AND 999999999999),
    CONSTRAINT payment_movements_currency_iso CHECK (currency ~ '^[a-z]{3}$'),
    CONSTRAINT payment_movements_origin_known CHECK (origin IN ('stripe', 'totals')),
    CONSTRAINT payment_movements_ids_given CHECK (stripe_object_id <> ''),
    CONSTRAINT payment_movements_ids_short CHECK (octet_length(stripe_object_id) <= 255),
    CONSTRAINT payment_movements_times_plausible CHECK (
        least(occurred_at, created_at) >= '1970-01-01 00:00:00+00'
        AND greatest(occurred_at, created_at) < '2200-01-01 00:00:00+00'
    )
);

-- What a day or a month came to.
CREATE INDEX payment_movements_occurred_at ON payment_movements (occurred_at) INCLUDE (kind, amount_cents, currency);
-- Support is told a refund or a dispute.
CREATE INDEX payment_movements_stripe_object_id ON payment_movements (stripe_object_id);

--! functions/book_payment_totals
-- No total without its movements: post_payment_totals() for the payments whose totals a statement wrote.
CREATE FUNCTION book_payment_totals() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    ids uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        ids := ARRAY(
            SELECT n.id FROM new_rows AS n
            WHERE n.status NOT IN ('pending', 'failed') OR n.paid_at IS NOT NULL
                OR n.refunded_cents <> 0 OR n.disputed_cents <> 0
        );
    ELSE
        ids := ARRAY(
            SELECT n.id FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
            WHERE (n.paid_at, n.refunded_cents, n.disputed_cents)
                IS DISTINCT FROM (o.paid_at, o.refunded_cents, o.disputed_cents)
        );
    END IF;
    IF cardinality(ids) > 0 THEN
        PERFORM post_payment_totals(ids, TG_OP = 'INSERT');
    END IF;
    RETURN NULL;
END
$$;

--! functions/post_payment_totals
-- Gives payments the movements that their totals say and that are missing, with the origin 'totals'; returns how many.
-- So totals and movements agree whoever wrote the row: an import, COPY, somebody in psql. A charge counts at paid_at; a
-- refund or dispute, of which a total has no date, when the row was last written, but not before the payment.
-- With loaded true the rows were written as a whole: one that counts as paid and says no day was paid when it was made,
-- and of one that is disputed and does not say how much, all that is left is.
CREATE FUNCTION post_payment_totals(payment_ids uuid[], loaded boolean) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    posted bigint;
BEGIN
    WITH said AS MATERIALIZED (
        SELECT
            p.id,
            coalesce(p.stripe_charge_id, p.stripe_invoice_id, p.id::text) AS object_id,
            p.currency,
            p.amount_cents,
            CASE
                WHEN loaded AND p.status NOT IN ('pending', 'failed') THEN coalesce(p.paid_at, p.created_at)
                ELSE p.paid_at
            END AS paid_at,
            t.paid_at AS booked_at,
            p.refunded_cents - coalesce(t.refunded_cents, 0) AS refunded,
            CASE
                WHEN loaded AND p.status = 'disputed' AND p.disputed_cents = 0 THEN p.amount_cents - p.refunded_cents
                ELSE p.disputed_cents
            END - coalesce(t.disputed_cents, 0) AS disputed,
            greatest(p.updated_at, p.paid_at) AS written_at
        FROM payment_history AS p
        LEFT JOIN payment_totals AS t ON t.payment_id = p.id AND t.payment_id = ANY (payment_ids)
        WHERE p.id = ANY (payment_ids)
    ),
    missing (payment_id, kind, object_id, amount_cents, currency, occurred_at) AS (
        SELECT s.id, 'charge', m.stripe_object_id, -sum(m.amount_cents), s.currency, m.occurred_at
        FROM said AS s
        JOIN payment_movements AS m ON m.payment_id = s.id AND m.kind = 'charge'
        WHERE s.paid_at IS DISTINCT FROM s.booked_at
        GROUP BY s.id, m.stripe_object_id, s.currency, m.occurred_at
        HAVING sum(m.amount_cents) <> 0
        UNION ALL
        SELECT s.id, 'charge', s.object_id, s.amount_cents, s.currency, s.paid_at
        FROM said AS s
        WHERE s.paid_at IS DISTINCT FROM s.booked_at AND s.paid_at IS NOT NULL AND s.amount_cents > 0
        UNION ALL
        SELECT
            s.id, CASE WHEN s.refunded > 0 THEN 'refund' ELSE 'refund_failed' END,
            s.object_id, -s.refunded, s.currency, s.written_at
        FROM said AS s
        WHERE s.refunded <> 0
        UNION ALL
        SELECT
            s.id, CASE WHEN s.disputed > 0 THEN 'dispute' ELSE 'dispute_reversed' END,
            s.object_id, -s.disputed, s.currency, s.written_at
        FROM said AS s
        WHERE s.disputed <> 0
    )
    INSERT INTO payment_movements (
        payment_id, kind, stripe_object_id, number, amount_cents, currency, occurred_at, origin
    )
    SELECT
        w.payment_id,
        w.kind,
        w.object_id,
        coalesce((
            SELECT max(m.number) FROM payment_movements AS m
            WHERE m.payment_id = w.payment_id AND m.kind = w.kind AND m.stripe_object_id = w.object_id
        ), 0) + row_number() OVER (PARTITION BY w.payment_id, w.kind, w.object_id ORDER BY w.occurred_at, w.amount_cents),
        w.amount_cents,
        w.currency,
        w.occurred_at,
        'totals'
    FROM missing AS w;
    GET DIAGNOSTICS posted = ROW_COUNT;
    RETURN posted;
END
$$;

--! functions/refuse_payment_movement_change
-- Movements of money are append-only, whoever asks: what was wrong is corrected by another row. They go with their
-- payment, which is gone already when the cascade reaches them.
CREATE FUNCTION refuse_payment_movement_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM payment_history AS p WHERE p.id = OLD.payment_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'payment_movements: rows are append-only'
        USING ERRCODE = 'insufficient_privilege', DETAIL = format('%s was refused.', TG_OP);
END
$$;

--! functions/sum_payment_movements
-- Writes the totals of the payments that movements were inserted for. The payments are locked first, so that the sums
-- of whoever comes second include the first one's rows.
CREATE FUNCTION sum_payment_movements() RETURNS trigger
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    ids CONSTANT uuid[] := ARRAY(SELECT DISTINCT n.payment_id FROM new_rows AS n);
    odd record;
BEGIN
    IF cardinality(ids) = 0 THEN
        RETURN NULL;
    END IF;
    PERFORM FROM payment_history AS p WHERE p.id = ANY (ids) ORDER BY p.id FOR NO KEY UPDATE;
    SELECT n.payment_id, n.currency, p.currency AS wanted INTO odd
    FROM new_rows AS n JOIN payment_history AS p ON p.id = n.payment_id
    WHERE n.currency <> p.currency
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'payment_movements: payment % is in %, not %', odd.payment_id, odd.wanted, odd.currency
            USING ERRCODE = 'check_violation';
    END IF;
    UPDATE payment_history AS p
    SET refunded_cents = t.refunded_cents, disputed_cents = t.disputed_cents, paid_at = t.paid_at
    FROM payment_totals AS t
    WHERE t.payment_id = ANY (ids)
        AND p.id = t.payment_id
        AND (p.refunded_cents, p.disputed_cents, p.paid_at)
        IS DISTINCT FROM (t.refunded_cents, t.disputed_cents, t.paid_at);
    RETURN NULL;
END
$$;

--! views/payment_totals
-- What the movements of each payment add up to; payment_history repeats it. A payment was paid at the first moment
-- whose charge has not been taken back.
CREATE VIEW payment_totals AS
SELECT
    m.payment_id,
    sum(m.charged)::bigint AS charged_cents,
    sum(m.refunded)::bigint AS refunded_cents,
    sum(m.disputed)::bigint AS disputed_cents,
    CASE WHEN sum(m.charged) > 0 THEN min(m.occurred_at) FILTER (WHERE m.charged > 0) END AS paid_at
FROM (
    SELECT
        booked.payment_id,
        booked.occurred_at,
        coalesce(sum(booked.amount_cents) FILTER (WHERE booked.kind = 'charge'), 0) AS charged,
        coalesce(-sum(booked.amount_cents) FILTER (WHERE booked.kind IN ('refund', 'refund_failed')), 0) AS refunded,
        coalesce(-sum(booked.amount_cents) FILTER (WHERE booked.kind IN ('dispute', 'dispute_reversed')), 0)
            AS disputed
    FROM payment_movements AS booked
    GROUP BY booked.payment_id, booked.occurred_at
) AS m
GROUP BY m.payment_id;

--! triggers/payment_history
CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

--! triggers/payment_movements
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON payment_movements
FOR EACH ROW EXECUTE FUNCTION refuse_payment_movement_change();

CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON payment_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_movement_change();

CREATE TRIGGER sum_up AFTER INSERT ON payment_movements
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION sum_payment_movements();
