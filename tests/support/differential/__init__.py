"""The same requests to a base and to images patched from it, and what their answers may differ in."""
