"""Staff sign-in: password with second factor, or single sign-on; locked after failures, timed out when idle."""
