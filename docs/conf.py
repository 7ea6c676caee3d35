"Settings of the page, for sphinx; the texts come from pages.py beside it."
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
ini = ConfigParser(delimiters=['='], comment_prefixes=['#'])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

project = cfg['title']
author = cfg['author']
copyright = cfg['copyright']
release = cfg['version']
extensions = ['myst_nb', 'sphinx.ext.mathjax']
exclude_patterns = ['**.ipynb_checkpoints']
smartquotes = False  # the words stand as they do in the notebooks
suppress_warnings = ['config.cache']

nb_execution_mode = 'off'  # the outputs are stored in the notebooks
nb_merge_streams = True
myst_enable_extensions = [
    'amsmath', 'attrs_block', 'attrs_inline', 'colon_fence', 'deflist', 'dollarmath', 'html_image',
]
myst_links_external_new_tab = True
mathjax_path = 'mathjax/tex-chtml-full.js'  # pages.py puts it there
mathjax3_config = {'options': {'enableMenu': False}}

html_theme = 'sphinx_book_theme'
html_title = f"{cfg['title']} {cfg['version']}"
html_baseurl = f"{cfg['doc_host']}{cfg['doc_baseurl']}/"
html_static_path, templates_path = ['static'], ['templates']
html_css_files = ['page.css']
html_js_files = ['page.js']
html_logo = html_favicon = 'static/logo.svg'
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_use_index = False
pygments_style = 'default'
html_context = dict(default_mode='auto')
html_theme_options = dict(
    repository_url=cfg['git_url'], repository_branch=cfg['branch'], use_repository_button=True,
    use_source_button=False, use_edit_page_button=False, use_issues_button=False, use_download_button=False,
    use_fullscreen_button=False, logo=dict(text=cfg['title'], alt_text=''), show_navbar_depth=1,
    show_toc_level=2, home_page_in_toc=True, toc_title='On this page',
    pygments_light_style='a11y-high-contrast-light', pygments_dark_style='github-dark',
    navigation_with_keys=False, extra_footer='',
)
