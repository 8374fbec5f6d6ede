"""The engine: pure cores, the shells around them, and what travels between them."""
