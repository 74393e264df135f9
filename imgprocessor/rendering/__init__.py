"""Work: jobs, the workers that do them, and what is kept of it. Knows processes."""
