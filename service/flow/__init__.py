"""One request's way, in order: accept, ring, batch, release, settle, status; the safety net: reconcile, sweep."""
