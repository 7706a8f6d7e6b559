"""Sphinx's settings: ``make docs`` builds the site."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from klrl_envs import __version__  # noqa: E402

# Cells of pages run in processes of their own, which find this checkout and the commands beside this Python.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "100", "NO_COLOR": "1", "TQDM_DISABLE": "1"}

project = "klrl"
author = "the klrl contributors"
release = version = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs.generator.extension",
]
exclude_patterns = ["repository/README", "generator"]
default_role = "code"

html_theme = "furo"
html_title = f"klrl {version}"
html_static_path = ["_static"]
html_css_files = ["klrl.css"]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Parts of the README begin below the title; names of fields are looked up in every class.
suppress_warnings = ["myst.header", "ref.python"]

nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs" / "cells")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
nb_output_stderr = "remove"  # warnings of other libraries; what fails stops the build
# Where TRL is not installed its page has no output; the test of the page says so, too.
nb_execution_excludepatterns = [] if find_spec("trl") else ["tutorials/trl.md"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = "$ "

linkcheck_anchors = False
linkcheck_timeout = 20
