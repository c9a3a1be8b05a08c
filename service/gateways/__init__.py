"""One outside thing each: PostgreSQL, Redis, the vendor. Nothing else talks to the outside."""
