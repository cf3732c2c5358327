"""A fresh editor for each test."""

import pytest
from editor_routes import Editor


@pytest.fixture
def editor(tmp_path):
    return Editor(tmp_path)
