from unittest import mock

from django.db import OperationalError
from django.test import SimpleTestCase, TestCase

from config.version import VERSION
from core import health


class LiveTests(SimpleTestCase):
    """A SimpleTestCase fails on any query: `/healthz` must not need the database."""

    def test_answers_with_the_version(self):
        response = self.client.get("/healthz")
        self.assertEqual(response.status_code, 200)
        self.assertEqual(
            response.json(), {"status": "ok", "version": VERSION, "release": ""}
        )

    def test_is_never_cached(self):
        self.assertIn("no-store", self.client.get("/healthz")["Cache-Control"])

    def test_refuses_to_be_posted_to(self):
        self.assertEqual(self.client.post("/healthz").status_code, 405)

    def test_every_answer_says_who_gave_it(self):
        for path in ["/healthz", "/login/", "/no/such/page"]:
            self.assertEqual(self.client.get(path)["X-Release"], VERSION, path)


class ReadyTests(TestCase):
    def get(self, broker=None, database=None):
        with (
            mock.patch.object(health, "ask_broker", side_effect=broker),
            (
                mock.patch.object(health, "ask_database", side_effect=database)
                if database
                else mock.MagicMock()
            ),
            self.assertLogs("core.health") if broker or database else mock.MagicMock(),
        ):
            return self.client.get("/readyz")

    def test_is_ready_when_both_answer(self):
        response = self.get()
        self.assertEqual(response.status_code, 200)
        self.assertEqual(response.json()["checks"], {"database": "ok", "broker": "ok"})

    def test_names_the_broker_that_is_away_and_keeps_the_reason_to_the_log(self):
        response = self.get(broker=ConnectionError("redis://:password@broker"))
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json()["down"], ["broker"])
        self.assertNotContains(response, "password", status_code=503)

    def test_names_the_database_that_is_away(self):
        response = self.get(database=OperationalError("gone"))
        self.assertEqual(response.status_code, 503)
        self.assertEqual(response.json()["down"], ["database"])

    def test_a_broker_that_refuses_connections_is_down(self):
        with self.settings(REDIS_URL="redis://127.0.0.1:1/0"), self.assertLogs(
            "core.health"
        ):
            response = self.client.get("/readyz")
        self.assertEqual(
            response.json()["checks"], {"database": "ok", "broker": "down"}
        )

    def test_a_broker_that_nobody_configured_is_down(self):
        with self.settings(REDIS_URL=""), self.assertLogs("core.health"):
            self.assertEqual(self.client.get("/readyz").json()["down"], ["broker"])
