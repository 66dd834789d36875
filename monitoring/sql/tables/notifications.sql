-- The outbox: a state change and its message are two rows of one transaction, so a failing Slack never loses an alert.
-- A sender that claims a row moves next_attempt_at ahead; when it dies, the row is due again by itself.
CREATE TABLE notifications (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT notifications_pkey PRIMARY KEY,
    channel text NOT NULL,
    kind text NOT NULL,
    alert_id uuid CONSTRAINT notifications_alert_id_fkey REFERENCES alerts (id) ON DELETE CASCADE,
    report_on date,
    severity text NOT NULL,
    message text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'pending',
    attempts int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text,
    delivery_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    CONSTRAINT notifications_channel_known CHECK (channel IN ('slack', 'email')),
    CONSTRAINT notifications_kind_known CHECK (kind IN ('opened', 'escalated', 'reminder', 'resolved', 'report')),
    CONSTRAINT notifications_severity_known CHECK (severity IN ('critical', 'warning', 'info')),
    CONSTRAINT notifications_status_known CHECK (status IN ('pending', 'sent', 'dead')),
    CONSTRAINT notifications_attempts_not_negative CHECK (attempts >= 0),
    CONSTRAINT notifications_is_alert_or_report CHECK (
        (kind = 'report') = (report_on IS NOT NULL) AND (kind = 'report') = (alert_id IS NULL)
    ),
    CONSTRAINT notifications_sent_is_dated CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT notifications_report_day_plausible CHECK (report_on >= '1970-01-01' AND report_on < '2200-01-01'),
    CONSTRAINT notifications_times_plausible CHECK (
        least(next_attempt_at, created_at, sent_at) >= '1970-01-01 00:00:00+00'
        AND greatest(next_attempt_at, created_at, sent_at) < '2200-01-01 00:00:00+00'
    )
);

CREATE INDEX notifications_due ON notifications (channel, next_attempt_at) WHERE status = 'pending';
CREATE INDEX notifications_sent_at ON notifications (channel, sent_at) WHERE status = 'sent';
CREATE INDEX notifications_alert_id ON notifications (alert_id);
CREATE UNIQUE INDEX notifications_one_report_a_day ON notifications (channel, report_on) WHERE report_on IS NOT NULL;

-- The back office's sorts and filters.
CREATE INDEX notifications_status ON notifications (status, id);
CREATE INDEX notifications_kind ON notifications (kind, id);
