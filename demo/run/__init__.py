"""`make run`: the whole back office on this machine, from nothing, until Ctrl-C."""
