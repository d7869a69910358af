"""Configuration of the documentation, built by ``make docs``."""
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs/_ext')]
warnings.filterwarnings('ignore')  # of the libraries that mmavs imports; Sphinx has its own log
os.environ['PYTHONWARNINGS'] = 'ignore'

from mmavs.version import __version__  # noqa: E402

project = 'mmavs'
author = 'MMAVS contributors'
copyright = 'MMAVS contributors'
version = release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_design',
    'repository_links',
    'tree_pages',
]
exclude_patterns = ['_build', '_templates', 'generated/zoo', 'generated/commands', 'generated/tools.md']
suppress_warnings = ['config.cache']  # autosummary_context holds a function
templates_path = ['_templates']

# Pages are Markdown as GitHub shows it. A link to a file or heading that does not exist is a warning.
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 4

# The API reference is made of the docstrings of every public module below mmavs.
autosummary_generate = True
autosummary_ignore_module_all = True
autosummary_imported_members = False
autodoc_default_options = {'members': True, 'undoc-members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
add_module_names = False
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# A reference to something of mmavs that does not exist is a warning. Other packages and private names are exempt.
nitpicky = True
nitpick_ignore_regex = [('py:.*', r'(?!mmavs\b).*|.*\._\w+')]

html_theme = 'furo'
html_title = f'mmavs {release}'
html_static_path = ['_static']
html_css_files = ['mmavs.css']
html_copy_source = False
html_show_sphinx = False
html_theme_options = dict(
    light_css_variables={'color-brand-primary': '#2f5d8a', 'color-brand-content': '#2f6fa8'},
    dark_css_variables={'color-brand-primary': '#8ab8e0', 'color-brand-content': '#8ab8e0'},
    navigation_with_keys=True)
copybutton_exclude = '.linenos, .gp, .go'
