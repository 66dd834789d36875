ALTER TABLE alerts DROP COLUMN object_type, DROP COLUMN object_id;
