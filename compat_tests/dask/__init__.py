"""Dask's own tests, from the installed package, with distpool as its only scheduler: see README.md."""
