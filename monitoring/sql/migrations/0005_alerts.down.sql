DROP FUNCTION cleanup_alerts(int);
DROP TABLE notifications;
DROP TABLE alerts;
