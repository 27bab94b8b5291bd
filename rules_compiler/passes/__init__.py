"""One pass, one file: what it rewrites is shown at its top. pipeline.py lists them in order."""
