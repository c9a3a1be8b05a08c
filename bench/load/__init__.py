"""Puts the same work to this service, to yardsticks and to peers, in rounds: ``make bench``."""
