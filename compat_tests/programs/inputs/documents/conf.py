"""Sphinx: the documentation of some modules of the standard library, from their docstrings."""

from pathlib import Path

project = "Standard library"
extensions = ["sphinx.ext.autodoc"]
html_theme = "basic"

MODULES = "json email.message email.header asyncio.queues textwrap difflib heapq csv argparse shlex string"

for module in MODULES.split():
    text = f"{module}\n{'=' * len(module)}\n\n.. automodule:: {module}\n   :members:\n"
    Path(__file__).with_name(f"{module}.rst").write_text(text)
index = "Modules\n=======\n\n.. toctree::\n\n" + "".join(f"   {module}\n" for module in MODULES.split())
Path(__file__).with_name("index.rst").write_text(index)
