"""What the work costs at least: programs without validation, crash safety or anything else that takes time."""
