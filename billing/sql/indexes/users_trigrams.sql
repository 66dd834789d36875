-- Finding a customer by any part of an address or a name, as Django writes it: UPPER(column) LIKE UPPER('%abc%').
CREATE INDEX users_trigrams ON users USING gin (upper(email) gin_trgm_ops, upper(name) gin_trgm_ops);
