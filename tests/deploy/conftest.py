"""What the tests of a deployment share."""

from pathlib import Path

import pytest

from cloud_templates import Templates, shared_templates


@pytest.fixture(scope="session")
def templates(session_folder: Path) -> Templates:
    """What CloudFormation is told."""
    return shared_templates(session_folder)
