"""MathJax from the environment, so that the site asks no other for it (`mkdocs.yml`)."""

import importlib.util
import pathlib

from mkdocs.structure.files import File


def on_files(files, config):
    """Puts MathJax beside the pages."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    script = pathlib.Path(package.origin).parent / "static" / "mathjax" / "tex-svg.js"
    files.append(
        File.generated(config, "javascripts/tex-svg.js", abs_src_path=str(script))
    )
    return files
