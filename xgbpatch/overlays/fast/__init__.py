"""The feature `fast`: uvicorn in the place of nginx and gevent, and a short way for requests that need no more.

`command` lets the base start gunicorn with our `worker` and `main`. `application` answers: the short way is
`short.ShortWay`, the way of all other requests the base's own application.
"""
