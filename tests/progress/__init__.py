"""``progress=`` and ``insight()``: counted exactly, shown well, and never in the way of the work."""
