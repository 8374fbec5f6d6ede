"""Decisions: pure state machines of owner, node and head, without I/O, clock or chance."""
