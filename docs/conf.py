"""Sphinx settings. The build reads nothing from the network, and the pages load nothing from it."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from docutils import nodes

from airflow_provider_moengage import __version__

# Autodoc imports Airflow, which writes its configuration file: keep it out of the builder's home folder.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-docs-")
os.environ["AIRFLOW_HOME"] = _airflow_home.name
logging.getLogger("airflow").setLevel(logging.WARNING)  # the build prints nothing but warnings

project = "airflow-provider-moengage"
author = "The airflow-provider-moengage authors"
copyright = author  # noqa: A001 (Sphinx's own name)
version = release = __version__

sys.path.insert(0, str(Path(__file__).parent))  # evidence_table

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "evidence_table",
]
exclude_patterns = ["_build"]

# "$" and its space are no part of a command, and its output is not copied.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# Dags and logs are full of --options and "quotes" that are to be copied as they stand.
smartquotes = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _link_to_included_pages)
    app.connect("autodoc-process-signature", _say_which_file_run)
    app.connect("doctree-resolved", _enlarge_pictures)


def _link_to_included_pages(_app: Any, _page: str, source: list[str]) -> None:
    """A link to `../SECURITY.md#part` works on GitHub, which shows no included text. Here its page includes it."""
    source[0] = re.sub(
        r"\]\(\.\./(SECURITY|CHANGELOG|CONTRIBUTING)\.md", lambda found: f"]({found[1].lower()}.md", source[0]
    )


def _say_which_file_run(*event: Any) -> tuple[str | None, str | None]:
    """Two classes are called FileRun, and a link by that name could mean either."""
    _, _, name, _, _, signature, returns = event
    module = "emulator.file_imports.runs" if ".emulator." in name else "api.file_imports"
    qualified = f"~airflow_provider_moengage.{module}.FileRun"
    return signature, returns and re.sub(r"\bFileRun\b", qualified, returns)


def _enlarge_pictures(_app: Any, doctree: nodes.document, page: str) -> None:
    """A screenshot is wider than the text: a click shows it in its own size."""
    for picture in list(doctree.findall(nodes.image)):
        if picture["uri"].endswith(".png") and "/" not in page:
            link = nodes.reference("", "", refuri=f"_images/{Path(picture['uri']).name}")
            picture.replace_self(link)
            link += picture
