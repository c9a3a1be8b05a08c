"""Pure rules and records: nothing here waits, and nothing here talks to the outside."""
