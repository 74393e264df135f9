"""Pages of documents drawn for jobs: in a sandbox, or not at all."""
