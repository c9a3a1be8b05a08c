"""One request's way, in order: accept, ring, batch, release, settle, status; and the safety net: sweep."""
