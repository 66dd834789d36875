GRANT EXECUTE ON FUNCTION fold_traffic(bigint) TO public;
