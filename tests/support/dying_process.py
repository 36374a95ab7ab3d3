"""Work for a process of its own that dies in the middle; a spawned process imports this module by its name."""

import os
import signal
import struct

SENT = {
    "dies": b"",
    "dies in a message": struct.pack("!i", 1000) + b"half of it",
    "dies in a length": b"\0\0",
    "dies of nonsense": struct.pack("!i", 4) + b"\x80\x05\x95.",
}


def work(item, progress):
    """Runs in a process of its own."""
    progress.line(f"at {item}")
    if item in SENT:
        os.write(progress._pipe.fileno(), SENT[item])
        os.kill(os.getpid(), signal.SIGKILL)
    return item * 2
