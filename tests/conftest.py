import pytest


@pytest.fixture(autouse=True)
def own_progress(monkeypatch, tmp_path):
    """Tests keep their progress apart from the reader's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
