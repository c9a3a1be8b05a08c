"""Access keys of the tests, and the key that their secrets are sealed with."""

from base64 import b64encode

SEALING_KEY = bytes(range(32))
#: The same, as the settings have it.
SECRET_KEY = b64encode(SEALING_KEY).decode()
