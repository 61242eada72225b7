"""Values that every template sees."""

from config.version import RELEASE, VERSION


def version(request):
    """For the footer."""
    return {"erp_version": VERSION, "erp_release": RELEASE}
