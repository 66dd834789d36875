"""The queue's worker: kept alive, heard of, told what to do."""
