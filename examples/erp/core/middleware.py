"""Every answer says which version gave it."""

from config.version import VERSION


class ReleaseHeader:
    """Sets `X-Release`, so that an operator or a load test can tell who answered."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Release"] = VERSION
        return response
