"""The store: what is kept of queries, what was noticed in them, what is learned, and who decided. The one truth."""
