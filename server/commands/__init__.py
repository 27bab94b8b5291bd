"""The subcommands of `burgee`, one file each; output.py and inputs.py hold what they print with and read."""
