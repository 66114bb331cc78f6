"""What one operation does: one table of operations with gradients, NumPy and CuPy backends."""
