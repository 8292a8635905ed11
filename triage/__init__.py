"""The nurse's queue: one open episode per patient and problem, ordered."""
