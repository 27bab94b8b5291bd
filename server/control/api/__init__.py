"""Routes of the admin API: one group, one file."""
