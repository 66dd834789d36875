DROP FUNCTION cleanup_authentication_failures(int);
DROP FUNCTION count_authentication_failure(text, text, text);
DROP TABLE authentication_failures;
