"""Repairs of known bugs of the base, one module each; `repairs` installs those asked for, each where it acts.

A module has `not_needed()` (why the installed base does not need it, or an empty string; found out by its behaviour or
its source, never by its tag) and `install()`.
"""
