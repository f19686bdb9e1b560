"""Fixtures for every test below this folder; `harness` is importable because this file's folder is on the path."""
pytest_plugins = ["harness.fixtures", "harness.lanes"]
