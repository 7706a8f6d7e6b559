"""The search from which the agents have their settings: the same for every agent, and what it cost."""
