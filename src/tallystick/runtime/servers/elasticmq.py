"""ElasticMQ on this machine: a server that speaks SQS, in memory. What is lost with it, the worker's sweeps find."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Final

from tallystick.runtime.servers.artifacts import Bundle, Fetching, untold
from tallystick.runtime.servers.java import java_home
from tallystick.runtime.servers.local import HOST, LocalServer, ServerFolder, plain_environment

VERSION: Final = "1.7.1"
COORDINATES: Final = f"org.elasticmq:elasticmq-server_3:{VERSION}:jar"
BUNDLE: Final = Bundle("ElasticMQ", VERSION, files("tallystick.runtime.servers") / "elasticmq.lock")

_CONFIGURATION: Final = """\
include classpath("application.conf")
node-address {{ protocol = http, host = "{host}", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-hostname = "{host}", bind-port = {port}, sqs-limits = strict }}
rest-stats {{ enabled = false }}
queues {{}}
"""

_LOGGING: Final = """\
<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{36} - %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="STDOUT"/></root>
</configuration>
"""


async def prepare(folder: Path, port: int, report: Callable[[str], None], fetching: Fetching = untold) -> LocalServer:
    """Make all that the server needs, fetching it the first time. See `opensearch.prepare`."""
    home = await BUNDLE.installed(fetching)
    own = ServerFolder.make(folder, report)
    own.reach(home / "lib")
    java = await java_home(own.account)
    texts = {"elasticmq.conf": _CONFIGURATION.format(host=HOST, port=port), "logback.xml": _LOGGING}
    config, data = own.part("config", texts), own.part("data", {})
    return LocalServer(
        name="ElasticMQ",
        url=f"http://{HOST}:{port}",
        health="/health",
        command=(
            str(java / "bin" / "java"),
            *("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
            *("--sun-misc-unsafe-memory-access=allow", f"-Djava.io.tmpdir={data}"),
            *(f"-Dconfig.file={config}/elasticmq.conf", f"-Dlogback.configurationFile={config}/logback.xml"),
            *("-cp", f"{home}/*", "org.elasticmq.server.Main"),
        ),
        environment=plain_environment(),
        folder=data,
        identity=own.identity,
    )
