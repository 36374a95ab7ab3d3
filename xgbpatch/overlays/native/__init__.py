"""What the native library computes: loaded through ctypes where the machine has one, and done without elsewhere."""
