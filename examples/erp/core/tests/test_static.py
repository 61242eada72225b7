import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase


class CollectstaticTests(SimpleTestCase):
    """Production's static files are collected with nothing but a key: no database, no broker."""

    def collect(self, **environment):
        environment |= {
            "DJANGO_SETTINGS_MODULE": "config.settings.production",
            "PATH": os.environ["PATH"],
        }
        command = [sys.executable, "manage.py", "collectstatic", "--noinput"]
        return subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def test_names_carry_a_digest_of_the_content(self):
        with tempfile.TemporaryDirectory() as root:
            result = self.collect(
                SECRET_KEY="only-for-collectstatic-at-build-time", STATIC_ROOT=root
            )
            self.assertEqual(result.returncode, 0, result.stderr)
            names = json.loads((Path(root) / "staticfiles.json").read_text())["paths"]
            self.assertRegex(
                names["css/layout.css"], r"^css/layout\.[0-9a-f]{12}\.css$"
            )
            self.assertTrue((Path(root) / names["icons/order.svg"]).is_file())
            self.assertGreater(len(names), 300)

    def test_a_missing_key_is_named(self):
        result = self.collect()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("SECRET_KEY must be set", result.stderr)
