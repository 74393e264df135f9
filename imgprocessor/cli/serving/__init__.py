"""Commands that serve, and do what is beside it: visitors, jobs, and what is made beforehand."""
