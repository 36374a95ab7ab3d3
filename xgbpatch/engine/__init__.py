"""The Docker Engine behind one typed door. Only this package imports `docker`."""
