"""pandas' own tests, from the installed package, with distpool.dataframe as `pandas`."""
