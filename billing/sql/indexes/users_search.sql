-- Finding a customer by parts of an address or a name, however they are accented, and by what is nearly written so.
CREATE INDEX users_search ON users USING gin (search_form(email, name) gin_trgm_ops);
