REVOKE EXECUTE ON FUNCTION fold_traffic(bigint) FROM public;
