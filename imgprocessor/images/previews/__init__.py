"""Pages of documents as pictures: one module for each kind of document."""
