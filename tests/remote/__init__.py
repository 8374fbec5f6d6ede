"""Remote calls and their references on real processes: who keeps what for how long, and what deaths take along."""
