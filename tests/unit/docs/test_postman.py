"""The Postman collection has every operation of the API, and holds nothing that is somebody's own."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from described import operations
from postman.collection import SCHEMA, assertions, collection, environment
from postman.declared import DECLARED
from postman.declaring import Example, happy, unhappy
from postman.newman import COLLECTION, ENVIRONMENT, Node, find_node, newman_command
from tallystick.errors import ConfigurationError

NEWMAN = Path(__file__).parents[3] / "scripts" / "postman" / "newman"


def items(node: Any) -> Iterator[dict[str, Any]]:
    """The requests of a collection or folder, in the order in which they are sent."""
    for item in node["item"]:
        if "item" in item:
            yield from items(item)
        else:
            yield item


# That the files are what the generator makes is looked at by `test_generated.py`.
MADE: dict[str, Any] = json.loads(COLLECTION.read_text())


def test_every_operation_has_a_folder_with_its_requests() -> None:
    folders = [folder for tag in MADE["item"] for folder in tag["item"]]

    assert sorted(folder["name"] for folder in folders) == sorted(operation.summary for operation in operations())
    for folder in folders:
        names = [item["name"] for item in folder["item"]]
        assert any(re.match(r"4\d\d: ", name) for name in names), folder["name"]
        assert not all(re.match(r"4\d\d: ", name) for name in names), folder["name"]


@pytest.mark.parametrize("lost", ["happy", "unhappy"])
def test_an_operation_without_its_requests_is_refused(lost: str) -> None:
    kept = [request for request in DECLARED["list_jobs"] if (request.problem is None) == (lost == "unhappy")]

    with pytest.raises(ValueError, match=f"list_jobs: declare a request that is {lost}"):
        collection({**DECLARED, "list_jobs": kept})


def test_a_request_of_another_operation_does_not_stand_for_it() -> None:
    others = [happy("Elsewhere", operation="healthz", token=False), DECLARED["list_jobs"][1]]

    with pytest.raises(ValueError, match="list_jobs: declare a request that is happy"):
        collection({**DECLARED, "list_jobs": others})


def test_an_operation_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="fly: the API has no such operation"):
        collection({**DECLARED, "fly": ()})


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (happy("Elsewhere", path={"job_id": "1"}), r"give the path's parameters, which are \[\]"),
        (happy("In red", query={"colour": "red"}), r"\['colour'\] are no parameters of it"),
        (happy("Made", 201), "the document has no answer 201"),
        (unhappy("Gone", 410, "gone", mend="x"), "the document has no answer 410"),
    ],
)
def test_a_request_that_the_document_does_not_describe_is_refused(request_: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        collection({**DECLARED, "list_jobs": (*DECLARED["list_jobs"], request_)})


def test_an_example_that_is_not_in_the_document_is_refused() -> None:
    with pytest.raises(KeyError, match="paint"):
        collection({**DECLARED, "run_job": (*DECLARED["run_job"], happy("Paint", 202, body=Example("paint")))})


def test_a_variable_is_set_before_it_is_used() -> None:
    known = {variable["key"] for variable in environment()["values"]}
    for item in items(MADE):
        scripts = {event["listen"]: "\n".join(event["script"]["exec"]) for event in item["event"]}
        known |= set(re.findall(r'collectionVariables\.set\("(\w+)"', scripts.get("prerequest", "")))
        used = re.findall(r"\{\{(\w+)\}\}", json.dumps(item["request"]))
        used += re.findall(r'variables\.get\("(\w+)"\)', "".join(scripts.values()))
        assert set(used) <= known, item["name"]
        known |= set(re.findall(r'collectionVariables\.set\("(\w+)"', scripts["test"]))


def test_what_is_sent_without_a_token_says_so() -> None:
    for item in items(MADE):
        without = item["name"].startswith("401") or item["request"]["url"]["path"][0] in (
            "healthz",
            "readyz",
            "metrics",
        )
        assert (item["request"].get("auth") == {"type": "noauth"}) == without, item["name"]


def test_each_test_is_counted() -> None:
    tests = sum(line.startswith("pm.test(") for item in items(MADE) for line in item["event"][-1]["script"]["exec"])

    assert assertions(DECLARED) == tests > 4 * len(list(items(MADE)))


def test_no_host_and_no_secret_is_in_the_files() -> None:
    text = COLLECTION.read_text() + ENVIRONMENT.read_text()
    hosts = set(re.findall(r"https?://[\w.:-]+", text))
    variables = {variable["key"]: variable for variable in json.loads(ENVIRONMENT.read_text())["values"]}

    assert hosts == {SCHEMA[: SCHEMA.index("/json")], "http://127.0.0.1:8080"}
    assert (variables["token"]["value"], variables["token"]["type"]) == ("", "secret")
    assert "eyJ" not in text


def test_the_lock_of_newman_names_no_host_to_fetch_from_and_has_a_digest_of_each_package() -> None:
    lock = json.loads((NEWMAN / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert "omit-lockfile-registry-resolved=true" in (NEWMAN / ".npmrc").read_text().split()
    assert packages["node_modules/newman"]["version"] == lock["packages"][""]["devDependencies"]["newman"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
        assert "hasInstallScript" not in package, name


def test_without_a_node_on_the_path_that_of_the_wheel_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found = find_node()

    for command in ((found.program,), found.npm):
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
        assert re.match(r"v?\d+\.\d+", told), told


@pytest.mark.parametrize(
    ("version", "taken"), [("v15.14.0", False), ("v16.0.0", True), ("v100.1.0", True), ("", False)]
)
def test_a_node_on_the_path_must_be_new_enough(
    version: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (find_node() == Node(str(tmp_path / "node"), (str(tmp_path / "npm"),))) == taken


async def test_a_registry_that_is_not_reached_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho no such host\nexit 1\n")
    npm.chmod(0o755)

    with pytest.raises(ConfigurationError, match=r"could not be fetched by npm.*no such host"):
        await newman_command(Node("node", (str(npm),)))

    assert list((tmp_path / "tallystick").glob("newman-*")) == []
