"""Sphinx configuration."""

project = "nova-lite"
copyright = "the nova-lite authors"
author = "the nova-lite authors"

extensions = ["openstackdocstheme", "oslo_config.sphinxext"]
html_theme = "openstackdocs"
openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_use_storyboard = False
version = release = ""

exclude_patterns = []
highlight_language = "console"
nitpicky = False
