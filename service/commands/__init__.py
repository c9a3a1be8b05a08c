"""What the commands do; ``cli`` only says how they are called."""
