"""How often each flag was answered with which variant, and when last: counted by workers, kept by the agent."""
