ALTER TABLE alerts ADD COLUMN object_type text, ADD COLUMN object_id text;
