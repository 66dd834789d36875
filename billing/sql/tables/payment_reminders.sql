-- The e-mails that ask a customer to pay an invoice, each written, with who and why, before it is sent. token is the
-- confirmation's, which sends one message at most. asked: on its way, or it was cut short there and may have arrived;
-- refused: the mail server did not take it.
CREATE TABLE payment_reminders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_invoice_id text NOT NULL,
    user_id uuid NOT NULL CONSTRAINT payment_reminders_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    email text NOT NULL,
    token text NOT NULL CONSTRAINT payment_reminders_token_key UNIQUE,
    state text NOT NULL DEFAULT 'asked',
    answer text NOT NULL DEFAULT '',
    actor text NOT NULL CONSTRAINT payment_reminders_actor_given CHECK (actor <> ''),
    reason text NOT NULL CONSTRAINT payment_reminders_reason_given CHECK (reason <> ''),
    asked_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    CONSTRAINT payment_reminders_state_known CHECK (state IN ('asked', 'sent', 'refused')),
    CONSTRAINT payment_reminders_settled_is_dated CHECK ((state = 'asked') = (settled_at IS NULL)),
    CONSTRAINT payment_reminders_ids_short CHECK (
        octet_length(stripe_invoice_id) BETWEEN 1 AND 255 AND octet_length(token) BETWEEN 1 AND 255
    ),
    CONSTRAINT payment_reminders_texts_bounded CHECK (
        octet_length(email) BETWEEN 1 AND 800 AND octet_length(answer) <= 8192 AND octet_length(actor) <= 800
        AND octet_length(reason) <= 8192
    ),
    CONSTRAINT payment_reminders_times_plausible CHECK (
        least(asked_at, settled_at) >= '1970-01-01 00:00:00+00'
        AND greatest(asked_at, settled_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX payment_reminders_user_id ON payment_reminders (user_id, asked_at DESC);
CREATE INDEX payment_reminders_invoice ON payment_reminders (stripe_invoice_id, asked_at DESC);
