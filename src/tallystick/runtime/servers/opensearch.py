"""OpenSearch on this machine: one node, reached over loopback alone, without passwords.

The distribution is the one that OpenSearch's own plugins are tested with: a whole server with its modules. It is run by
`java` itself rather than by its script, which starts five Javas one after the other to compute what is constant here.
"""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Final

import psutil

from tallystick.runtime.servers.artifacts import Bundle, Fetching, untold
from tallystick.runtime.servers.java import java_home
from tallystick.runtime.servers.local import HOST, LocalServer, ServerFolder, plain_environment

VERSION: Final = "3.8.0"
COORDINATES: Final = f"org.opensearch.distribution.integ-test-zip:opensearch:{VERSION}:zip"
BUNDLE: Final = Bundle("OpenSearch", VERSION, files("tallystick.runtime.servers") / "opensearch.lock")

_PRUNED: Final = ("modules/analysis-common",)
"""Its Thai analyzer needs locale data that the trimmed Java lacks: with it no index could be made."""

_HEAP_MEGABYTES: Final = (512, 1024)
_DIRECT_MEMORY: Final = "256m"

_LOGGING: Final = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


async def prepare(folder: Path, port: int, report: Callable[[str], None], fetching: Fetching = untold) -> LocalServer:
    """Make all that the server needs, fetching it the first time.

    Args:
        folder: Its data and settings; kept from one run to the next.
        port: Of the HTTP interface.
        report: Told of all out of the ordinary that is done.
        fetching: Told how far the fetch is.

    Raises:
        ConfigurationError: Something that a person must mend.
    """
    home = await BUNDLE.installed(fetching, _PRUNED)
    own = ServerFolder.make(folder, report)
    own.reach(home / "lib")
    java = await java_home(own.account)
    config = own.part("config", {"opensearch.yml": "", "log4j2.properties": _LOGGING})
    heap = _heap()
    data, logs, temporary = own.part("data"), own.part("logs"), own.part("tmp", {})
    options = {
        "cluster.name": "tallystick",
        "node.name": "local",
        "discovery.type": "single-node",
        "network.host": HOST,
        "http.port": str(port),
        "transport.port": "0",
        "path.data": str(data),
        "path.logs": str(logs),
        # One node has nowhere to move a shard to when the disk fills; the state directory's own check warns of that.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }
    return LocalServer(
        name="OpenSearch",
        url=f"http://{HOST}:{port}",
        health="/_cluster/health?wait_for_status=yellow&timeout=1s",
        command=(
            str(java / "bin" / "java"),
            *(f"-Xms{heap}", f"-Xmx{heap}", f"-XX:MaxDirectMemorySize={_DIRECT_MEMORY}"),
            *("-XX:+ExitOnOutOfMemoryError", f"-XX:ErrorFile={logs}/hs_err_pid%p.log"),
            *("-Djava.awt.headless=true", "-Dfile.encoding=UTF-8", f"-Djava.io.tmpdir={temporary}"),
            *("-Djna.nosys=true", f"-Djna.tmpdir={temporary}", "-Dlog4j2.disable.jmx=true"),
            *("-Dlog4j.shutdownHookEnabled=false", "-Dio.netty.noUnsafe=true"),
            f"-javaagent:{home}/agent/opensearch-agent.jar",
            *("--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED"),
            *(f"-Dopensearch.path.home={home}", f"-Dopensearch.path.conf={config}"),
            *("-Dopensearch.distribution.type=zip", "-Dopensearch.bundled_jdk=false"),
            *("-cp", f"{home}/lib/*", "org.opensearch.bootstrap.OpenSearch"),
            *(f"-E{name}={value}" for name, value in options.items()),
        ),
        environment=plain_environment(),
        folder=data,
        identity=own.identity,
    )


def _heap() -> str:
    """A sixteenth of the machine's memory, within bounds."""
    least, most = _HEAP_MEGABYTES
    return f"{min(max(psutil.virtual_memory().total // 2**24, least), most)}m"
