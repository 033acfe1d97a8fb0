"""Which matrix product runs for which device, dtype and shape, and the layers that run it."""
