"""What a run is on a node: the sheet that says all, and what the agent does with it."""
