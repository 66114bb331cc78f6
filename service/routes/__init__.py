"""Routes: each parses, calls once, and answers."""
