"""The façade: the vendor's own API, for its SDKs and for scripts that were written for it."""
