"""Measurements that a design was chosen by: run with `make bench`, apart from the tests."""
