from django.conf import settings
from django.core import mail
from django.core.management import call_command
from django.test import SimpleTestCase, TestCase

from config.celery import app


class LogBackendTests(SimpleTestCase):
    def test_says_who_would_have_got_what(self):
        backend = mail.get_connection("core.mail.LogBackend")
        letter = mail.EmailMessage("Hello", to=["a@example.com"], connection=backend)
        with self.assertLogs("core.mail") as logs:
            self.assertEqual(letter.send(), 1)
        self.assertIn("'Hello' to a@example.com with 0 attachments", logs.output[0])


class ScheduleTests(SimpleTestCase):
    def test_beat_schedules_only_tasks_that_exist(self):
        app.loader.import_default_modules()
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            self.assertIn(entry["task"], app.tasks)


class MigrationTests(TestCase):
    def test_migrations_say_what_the_models_say(self):
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
