"""Which points of a space of specs a sweep tries, and what it judges them by."""
