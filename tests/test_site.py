"""The site as it is built: examples are code, links lead on, nothing is fetched."""

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.backends import ROOT

pytestmark = [
    pytest.mark.backend_independent,
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed"
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # Not with `-q`: what is not said is not counted, and nothing is strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return {path: path.read_text() for path in folder.rglob("*.html")}


def test_no_page_has_a_quote_in_a_quote(site):
    """So were examples shown whose heading the parser did not know."""
    for path, page in site.items():
        assert not re.search(r"<blockquote>\s*<blockquote>", page), path


def test_examples_are_code(site):
    reference = "".join(page for path, page in site.items() if "reference" in str(path))
    sections = reference.count('<span class="doc-section-title">Examples:</span>')
    assert sections > 60
    prose = re.sub(r"<(pre|code)\b.*?</\1>", "", reference, flags=re.S)
    assert "&gt;&gt;&gt;" not in prose


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = r'<(?:script|img)[^>]*\ssrc="https?:|<link[^>]*stylesheet[^>]*href="https?:'
    for path, page in site.items():
        assert not re.search(fetched, page), path
