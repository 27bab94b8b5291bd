"""What is published travels here: from a control plane or another Burgee, directly or through Redis, to an agent."""
