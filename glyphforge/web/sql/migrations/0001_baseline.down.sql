-- Frozen by `manage.py database freeze`: a later migration changes what this one made.

SET LOCAL check_function_bodies = off;

DROP FUNCTION count_authentication_failure;

DROP FUNCTION cleanup_authentication_failures;

DROP TABLE authentication_failures;
