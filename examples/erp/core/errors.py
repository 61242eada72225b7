"""Refusals of the business rules, as opposed to bugs."""


class BusinessRuleError(Exception):
    """What was asked for is well-formed but not allowed now; the message is for the user."""
