"""Another role's operators, which an expression of ours must never choose."""

# Operators of another role for every pair of these types for which PostgreSQL has no exact one, so that theirs are the
# better match where an expression counts on a cast: https://www.postgresql.org/docs/current/typeconv-oper.html
BETTER_OPERATORS = """
DO $$
DECLARE
    types CONSTANT regtype[] := '{int2,int4,int8,numeric,float8,text,name,"char",uuid,oid,regclass,regtype,'
        'regnamespace,date,timestamp,timestamptz,interval,bool,jsonb,text[],date[],regclass[]}';
    a regtype;
    b regtype;
    sign text;
BEGIN
    CREATE ROLE stranger;
    GRANT CREATE ON SCHEMA public TO stranger;
    SET LOCAL ROLE stranger;
    FOREACH a IN ARRAY types LOOP
        FOREACH b IN ARRAY types LOOP
            EXECUTE format(
                'CREATE FUNCTION public.hijack(%s, %s) RETURNS boolean LANGUAGE plpgsql AS'
                ' %L', a, b, format('BEGIN RAISE EXCEPTION %L; END', format('hijacked by %s and %s', a, b))
            );
            FOR sign IN
                SELECT s.sign
                FROM unnest('{+,-,*,/,=,<>,<,<=,>,>=,||,&}'::text[]) AS s (sign)
                WHERE NOT EXISTS (
                    SELECT FROM pg_operator AS o
                    WHERE o.oprname::text = s.sign AND o.oprleft = a::oid AND o.oprright = b::oid
                        AND o.oprnamespace = 'pg_catalog'::regnamespace::oid
                )
            LOOP
                EXECUTE format(
                    'CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.hijack)', sign, a, b
                );
            END LOOP;
        END LOOP;
    END LOOP;
    RESET ROLE;
END
$$
"""
