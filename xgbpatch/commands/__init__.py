"""One verb, one file: each module holds a click command named `command` and imports what is heavy inside it."""
