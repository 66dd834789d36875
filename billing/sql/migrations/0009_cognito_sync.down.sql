DROP TABLE cognito_sync_cursors;
