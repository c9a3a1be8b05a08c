"""Does at its import what no module of the service may do."""

import os
import socket
import threading

with open(os.devnull, "w") as nothing, socket.socket() as unused:  # noqa: PTH123 - an effect is what this is for
    unused.bind(("127.0.0.1", 0))
threading.Thread(target=threading.Event().wait, daemon=True).start()
