-- The statuses in which a subscription entitles to its plan, as the setting ENTITLED_STATUSES said at the last migrate;
-- in the others a live one has the limits of the free plan.
CREATE TABLE entitled_statuses (
    status text PRIMARY KEY CONSTRAINT entitled_statuses_live CHECK (
        status IN ('active', 'past_due', 'trialing', 'paused', 'unpaid')
    )
);

INSERT INTO entitled_statuses (status)
VALUES
('active'),
('past_due'),
('trialing');
