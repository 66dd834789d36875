-- One row an episode: from the first failing evaluation of a check on an object until it is good again.
CREATE TABLE alerts (
    id uuid CONSTRAINT alerts_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
    fingerprint text NOT NULL,
    alert_type text NOT NULL,
    subject text NOT NULL,
    severity text NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    message text NOT NULL DEFAULT '',
    remediation text NOT NULL DEFAULT '',
    value numeric,
    evaluations_failing int NOT NULL DEFAULT 1,
    evaluations_better int NOT NULL DEFAULT 0,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    fired_at timestamptz,
    notified_at timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    snoozed_until timestamptz,
    snoozed_by text,
    note text NOT NULL DEFAULT '',
    resolved_at timestamptz,
    object_type text,
    object_id text,
    CONSTRAINT alerts_fingerprint_given CHECK (fingerprint <> ''),
    CONSTRAINT alerts_severity_known CHECK (severity IN ('critical', 'warning', 'info')),
    CONSTRAINT alerts_state_known CHECK (state IN ('pending', 'firing', 'acknowledged', 'snoozed', 'resolved')),
    CONSTRAINT alerts_counts_not_negative CHECK (evaluations_failing >= 0 AND evaluations_better >= 0),
    CONSTRAINT alerts_fired_is_dated CHECK ((state = 'pending') = (fired_at IS NULL)),
    CONSTRAINT alerts_acknowledged_is_signed CHECK (
        state <> 'acknowledged' OR (acknowledged_at IS NOT NULL AND acknowledged_by IS NOT NULL)
    ),
    CONSTRAINT alerts_snoozed_is_signed CHECK (
        state <> 'snoozed' OR (snoozed_until IS NOT NULL AND snoozed_by IS NOT NULL)
    ),
    CONSTRAINT alerts_resolved_is_dated CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);

CREATE UNIQUE INDEX alerts_one_open_per_fingerprint ON alerts (fingerprint) WHERE state <> 'resolved';
CREATE INDEX alerts_resolved_at ON alerts (resolved_at) WHERE state = 'resolved';

-- The back office's sorts and filters.
CREATE INDEX alerts_fired_at ON alerts (fired_at);
CREATE INDEX alerts_state ON alerts (state, fired_at);
CREATE INDEX alerts_severity ON alerts (severity, fired_at);
CREATE INDEX alerts_type ON alerts (alert_type, fired_at);
CREATE INDEX alerts_fingerprint ON alerts (fingerprint text_pattern_ops);
CREATE INDEX alerts_subject ON alerts (upper(subject) text_pattern_ops);

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
    CONSTRAINT notifications_sent_is_dated CHECK ((status = 'sent') = (sent_at IS NOT NULL))
);

CREATE INDEX notifications_due ON notifications (channel, next_attempt_at) WHERE status = 'pending';
CREATE INDEX notifications_sent_at ON notifications (channel, sent_at) WHERE status = 'sent';
CREATE INDEX notifications_alert_id ON notifications (alert_id);
CREATE UNIQUE INDEX notifications_one_report_a_day ON notifications (channel, report_on) WHERE report_on IS NOT NULL;

-- The back office's sorts and filters.
CREATE INDEX notifications_status ON notifications (status, id);
CREATE INDEX notifications_kind ON notifications (kind, id);

-- Deletes alerts resolved more than `days` ago with their notifications, and reports of that age; the number of alerts.
CREATE FUNCTION cleanup_alerts(days int DEFAULT 180) RETURNS bigint
LANGUAGE plpgsql
SET search_path = public, pg_temp
AS $$
DECLARE
    cutoff timestamptz;
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 1 THEN
        RAISE EXCEPTION 'cleanup_alerts: days must be 1 or more, not %', coalesce(days::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- No date lies millions of days back.
    cutoff := now() - least(days, 100000) * interval '24 hours';
    DELETE FROM notifications AS n WHERE n.kind = 'report' AND n.report_on < (cutoff AT TIME ZONE 'UTC')::date;
    DELETE FROM alerts AS a WHERE a.state = 'resolved' AND a.resolved_at < cutoff;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
