"""The admin API as the command line asks it."""
