"""Sphinx configuration."""

import matplotlib

import skxent

matplotlib.use("Agg")

# -- Project -------------------------------------------------------------------

project = "skxent"
author = "The skxent developers"
copyright = author
release = skxent.__version__
version = ".".join(release.split(".")[:2])

# -- General -------------------------------------------------------------------

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
default_role = "code"
highlight_language = "python3"
toc_object_entries_show_parents = "hide"

# -- API pages -----------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc sections name the types
autodoc_member_order = "bysource"
# Methods are listed by _templates/autosummary/class.rst, once.
numpydoc_show_class_members = False

# -- Gallery -------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("skxent",),
    "reference_url": {"skxent": None},  # None: these pages, nothing is downloaded
    "min_reported_time": 1,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "download_all_examples": False,
}

# -- HTML ----------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = f"skxent {release}"
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_prev_next": False,
    "show_toc_level": 2,
    # Pages not listed have no sections to point to, as those of functions, or tables
    # that need the width, as those of the guide.
    "secondary_sidebar_items": {
        "getting_started": ["page-toc"],
        "contributing": ["page-toc"],
        "design/*": ["page-toc"],
        "gallery/plot_*": ["page-toc"],
        "api/generated/skxent.linear_model.*": ["page-toc"],
    },
}
html_sidebars = {
    "index": [],
    "getting_started": [],
    "accuracy": [],
    "performance": [],
    "changelog": [],
    "contributing": [],
    "design/*": [],
    "gallery/*": [],
}
