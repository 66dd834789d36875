-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP TRIGGER book_changed_totals ON payment_history;
DROP TRIGGER book_loaded_totals ON payment_history;
DROP TRIGGER set_updated_at ON payment_history;
DROP TRIGGER name_customer ON payment_history;
DROP TRIGGER erase_links ON payment_history;

DROP TRIGGER set_updated_at ON stripe_webhook_events;
DROP TRIGGER erase_arriving ON stripe_webhook_events;

DROP TRIGGER audit ON users;
DROP TRIGGER default_subscription ON users;
DROP TRIGGER set_updated_at ON users;
DROP TRIGGER relink_primary_customer ON users;
DROP TRIGGER link_primary_customer ON users;
DROP TRIGGER keep_suspension ON users;
DROP TRIGGER refuse_revival ON users;
DROP TRIGGER keep_erased ON users;

DROP TRIGGER set_updated_at ON open_invoices;
DROP TRIGGER erase_links ON open_invoices;

DROP INDEX users_erased;
ALTER TABLE users DROP CONSTRAINT users_legal_hold_given;
ALTER TABLE users DROP CONSTRAINT users_held_is_not_erased;
ALTER TABLE users DROP CONSTRAINT users_erased_is_nobody;
ALTER TABLE users DROP CONSTRAINT users_times_plausible;
ALTER TABLE users DROP COLUMN legal_hold;
ALTER TABLE users DROP COLUMN erased_at;
ALTER TABLE users ADD CONSTRAINT users_times_plausible CHECK ( least(suspended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00' AND greatest(suspended_at, created_at, updated_at) < '2200-01-01 00:00:00+00' ) NOT VALID;
/* The table is now:
-- A customer. The address is unique whatever its case; it is NULL where Stripe has none or the customer was deleted,
-- whose row stays because payments refer to it. stripe_customer_id is the primary one of stripe_customers, and
-- suspended_at outlasts a deletion.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    cognito_user_id text CONSTRAINT users_cognito_user_id_key UNIQUE,
    stripe_customer_id text CONSTRAINT users_stripe_customer_id_key UNIQUE,
    email text,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    suspended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_status_known CHECK (status IN ('active', 'suspended', 'deleted')),
    CONSTRAINT users_email_plausible CHECK (email ~ '^[^@\s]+@[^@\s]+$'),
    -- An empty string is not "no id": two of them would collide on the unique key.
    CONSTRAINT users_ids_given CHECK (cognito_user_id <> '' AND stripe_customer_id <> ''),
    CONSTRAINT users_ids_short CHECK (
        octet_length(cognito_user_id) <= 255 AND octet_length(stripe_customer_id) <= 255
    ),
    CONSTRAINT users_email_short CHECK (octet_length(email) <= 512),
    CONSTRAINT users_name_length CHECK (octet_length(name) <= 8192),
    CONSTRAINT users_times_plausible CHECK (
        least(suspended_at, created_at, updated_at) >= '1970-01-01 00:00:00+00'
        AND greatest(suspended_at, created_at, updated_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Prefix search as Django writes it: UPPER(column) LIKE UPPER('abc%'). A name may be longer than an index row can be.
CREATE INDEX users_email_prefix ON users (upper(email) text_pattern_ops);
CREATE INDEX users_name_prefix ON users (upper(left(name, 200)) text_pattern_ops);
CREATE INDEX users_created_at ON users (created_at);

-- The back office's sorts and filters.
CREATE INDEX users_status ON users (status, created_at DESC);
*/

CREATE TRIGGER set_updated_at BEFORE UPDATE ON open_invoices
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER name_customer BEFORE INSERT ON payment_history
FOR EACH ROW WHEN (new.stripe_customer_id IS NULL AND new.stripe_charge_id IS NOT NULL)
EXECUTE FUNCTION name_stripe_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON payment_history
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER book_loaded_totals AFTER INSERT ON payment_history
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE TRIGGER book_changed_totals AFTER UPDATE ON payment_history
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION book_payment_totals();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON stripe_webhook_events
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER keep_suspension BEFORE INSERT OR UPDATE OF status ON users
FOR EACH ROW EXECUTE FUNCTION keep_suspension();

CREATE TRIGGER link_primary_customer AFTER INSERT ON users
FOR EACH ROW WHEN (new.stripe_customer_id IS NOT NULL) EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER relink_primary_customer AFTER UPDATE OF stripe_customer_id ON users
FOR EACH ROW WHEN (old.stripe_customer_id IS DISTINCT FROM new.stripe_customer_id)
EXECUTE FUNCTION link_primary_customer();

CREATE TRIGGER set_updated_at BEFORE UPDATE ON users
FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER default_subscription AFTER INSERT ON users
REFERENCING NEW TABLE AS new_users
FOR EACH STATEMENT EXECUTE FUNCTION create_free_subscriptions();

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_row_change('id', 'suspended_at');

DROP TRIGGER erase_arriving ON djstripe_taxid;

DROP TRIGGER erase_arriving ON djstripe_subscription;

DROP TRIGGER erase_arriving ON djstripe_source;

DROP TRIGGER erase_arriving ON djstripe_setupintent;

DROP TRIGGER erase_arriving ON djstripe_session;

DROP TRIGGER erase_arriving ON djstripe_refund;

DROP TRIGGER erase_arriving ON djstripe_paymentmethod;

DROP TRIGGER erase_arriving ON djstripe_paymentintent;

DROP TRIGGER erase_arriving ON djstripe_invoiceitem;

DROP TRIGGER erase_arriving ON djstripe_invoice;

DROP TRIGGER erase_arriving ON djstripe_dispute;

DROP TRIGGER erase_arriving ON djstripe_customer;

DROP TRIGGER erase_arriving ON djstripe_charge;

DROP TRIGGER erase_arriving ON djstripe_card;

DROP TRIGGER erase_arriving ON djstripe_bankaccount;

DROP FUNCTION personal_values;

DROP FUNCTION personal_terms;

DROP FUNCTION personal_pattern;

DROP FUNCTION nameless;

DROP FUNCTION is_of_erased;

DROP FUNCTION events_of_customer;

DROP FUNCTION erased_text;

DROP FUNCTION erased_stripe;

DROP FUNCTION erased_json;

DROP FUNCTION erased_audit_rows;

DROP FUNCTION erase_usage_of;

DROP FUNCTION erase_audit_of;

DROP FUNCTION refuse_unerasing;

DROP FUNCTION keep_erased;

DROP FUNCTION erase_document_links;

DROP FUNCTION erase_arriving;
