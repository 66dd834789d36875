-- An error in words for people: what a library says of itself stays in the log and on the page of the event. A sentence
-- of its own it finds again behind the name of a step.
CREATE FUNCTION plain_error(error text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = public, pg_temp
SET standard_conforming_strings = on
AS $$
    SELECT
        CASE
            WHEN said.line = '' THEN 'no error noted'
            -- Its text is for the programmer.
            WHEN
                error ~ '^(Assertion|Attribute|Index|Key|Lookup|Name|NotImplemented|Recursion|Type|UnboundLocal|ZeroDivision)Error\M'
                OR error ~ '^((Memory|Unicode\w*|Decimal\w*|JSONDecode|Validation)Error|DoesNotExist)\M'
                THEN 'An error of the program, ' || substring(error FROM '^\w+') || ': the log has its text.'
            WHEN said.line ~ 'An error of the program' THEN substring(said.line FROM 'An error of the program[^;]*')
            WHEN said.line ~* 'lock timeout|locknotavailable|table stayed locked'
                THEN 'A table stayed locked for longer than it may take.'
            WHEN said.line ~* 'statement timeout|querycanceled|statement took longer'
                THEN 'A statement took longer than it may.'
            WHEN said.line ~* 'deadlock|transactions waited for each other'
                THEN 'Two transactions waited for each other, and one was ended.'
            WHEN said.line ~* 'no space left|disk ?full|disk is full|could not extend' THEN 'The disk is full.'
            WHEN said.line ~* 'too many (clients|connections)|connection slots|no free connection|couldn''t get a connection'
                THEN 'The database has no free connection.'
            WHEN
                said.line ~* 'connection to server|connection (is|was|already) (closed|lost)|closed the connection'
                OR said.line ~* 'terminating connection|adminshutdown|consuming input failed|connection is lost'
                OR said.line ~* 'database could not be reached'
                THEN 'The database could not be reached.'
            WHEN said.line ~* '\mssl|certificate|secure connection' THEN 'No secure connection could be made.'
            WHEN said.line ~* 'timed out|timeouterror|(read|connect)timeout|did not answer in time'
                THEN 'The other side did not answer in time.'
            WHEN said.line ~* 'connectionpool|urlopen|urllib3|max retries|connection refused|connectionerror|\merrno\M'
                OR said.line ~* 'other side could not be reached'
                THEN 'The other side could not be reached.'
            WHEN said.line ~* 'psycopg|django\.|traceback|requests\.exceptions|\mstripe\._'
                THEN 'An error of the program: the log has its text.'
            ELSE said.line
        END
    FROM (
        SELECT
            left(
                btrim(regexp_replace(
                    split_part(btrim(coalesce(error, '')), E'\n', 1),
                    '^([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Violation|Interrupt|Failed|Refused|Denied|Timeout): *', ''
                )),
                300
            ) AS line
    ) AS said
$$;
