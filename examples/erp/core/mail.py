"""Where mails go when there is no mail server."""

import logging

from django.core.mail.backends.base import BaseEmailBackend

log = logging.getLogger(__name__)


class LogBackend(BaseEmailBackend):
    """One line in the log for each mail: who would have got what."""

    def send_messages(self, messages):
        for mail in messages:
            log.info(
                "no mail server: %r to %s with %d attachments was not sent",
                mail.subject,
                ", ".join(mail.recipients()),
                len(mail.attachments),
            )
        return len(messages)
