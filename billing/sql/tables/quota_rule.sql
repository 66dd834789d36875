-- Which requests count against a month's limit, in its one row, as the setting QUOTA_COUNTS said at the last migrate:
-- all of them, or those that were served, which are not answered with 429 or 5xx.
CREATE TABLE quota_rule (
    only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT quota_rule_one_row CHECK (only_row),
    counts text NOT NULL CONSTRAINT quota_rule_counts_known CHECK (counts IN ('all', 'served'))
);

INSERT INTO quota_rule (counts) VALUES ('all');
