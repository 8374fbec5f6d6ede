"""The place of the pandas-like DataFrame. It has not been built yet: this package is empty."""
