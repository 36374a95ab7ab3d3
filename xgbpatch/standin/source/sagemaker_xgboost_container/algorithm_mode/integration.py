"""Logging of algorithm mode."""

import logging
import logging.config

FORMATTERS = {
    "verbose": {"format": "[%(asctime)s:%(levelname)s] %(message)s", "datefmt": "%Y-%m-%d:%H:%M:%S"},
    "simple": {"format": "[%(levelname)s:%(name)s] %(message)s"},
}

CONSOLE_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": FORMATTERS,
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "verbose",
            "level": "INFO",
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
}

LOGGING_CONFIGS = {"console_only": CONSOLE_LOGGING}


def setup_main_logger(name):
    """The logger `name`; the root handler is replaced on the way, which happens at import of serve and serve_utils."""
    logging.config.dictConfig(LOGGING_CONFIGS["console_only"])
    return logging.getLogger(name)
