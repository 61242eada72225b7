"""Traces of web requests, sent to the collector that ERP_TRACES names."""

import os

# Nobody added it to requirements.txt: it happened to be installed on the laptop where this was tried.
import erp_tracing


def traced(application):
    """The application with a span around each request."""
    return erp_tracing.Middleware(application, collector=os.environ["ERP_TRACES"])
