"""The processes around the cores, where they meet what should not happen: see each module."""
