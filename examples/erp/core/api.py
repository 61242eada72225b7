"""What all API modules share."""

from rest_framework.exceptions import ErrorDetail
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_handler
from rest_framework.views import set_rollback

from core.errors import BusinessRuleError


def exception_handler(error, context):
    """A broken business rule is the client's conflict (409), not our failure (500)."""
    if isinstance(error, BusinessRuleError):
        set_rollback()
        return Response(
            {"detail": ErrorDetail(str(error), code="business_rule")}, status=409
        )
    return default_handler(error, context)


class ReadForAllWriteForStaff(BasePermission):
    """The catalogue is public; changing it is not."""

    def has_permission(self, request, view):
        return request.method in SAFE_METHODS or bool(
            request.user and request.user.is_staff
        )
