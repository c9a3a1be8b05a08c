"""The scripts of the shared limiter: each runs in Redis, in one piece."""
