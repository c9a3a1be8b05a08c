"""Looks at everything that a process of the service needs, and says of each what is wrong and how to mend it."""
