-- What a seal holds as sha256: over the seal before it, its range, its time, and of each row id, time and digest, in
-- this order; times are microseconds since 1970.
CREATE FUNCTION seal_hash(seal audit_seals) RETURNS bytea
LANGUAGE sql
STABLE
SET search_path = public, pg_temp
AS $$
    SELECT sha256(
        seal.previous || int8send(seal.from_id) || int8send(seal.to_id)
        || int8send((extract(EPOCH FROM seal.sealed_at) * 1000000::numeric)::bigint)
        || string_agg(
            int8send(r.id) || int8send((extract(EPOCH FROM r.occurred_at) * 1000000::numeric)::bigint) || r.digest,
            ''::bytea ORDER BY r.n
        )
    )
    FROM unnest(seal.row_ids, seal.row_times, seal.row_digests) WITH ORDINALITY AS r (id, occurred_at, digest, n)
$$;
