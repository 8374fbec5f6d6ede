"""A folder that `distpool run` puts on PYTHONPATH, so that `sitecustomize` in it runs before the user's program."""
