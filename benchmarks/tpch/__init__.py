"""The 22 queries of TPC-H as pandas programs, and the tables that they read."""
