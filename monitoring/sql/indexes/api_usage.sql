-- The last hour, and the first and last part of 24 hours, whatever order the rows lie in.
CREATE INDEX api_usage_created_at ON api_usage (created_at);
