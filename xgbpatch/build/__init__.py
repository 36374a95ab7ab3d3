"""From a spec to an image: the definition of what is built, and two builders that build it."""
