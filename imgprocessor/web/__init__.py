"""HTTP: requests in, answers out. Knows Flask."""
