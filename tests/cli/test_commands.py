"""Every subcommand as a user runs it, in process; the embedded model serves as the example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import zoo
from tests.user_models import write_manifest
from zoo.cli.main import COMMANDS, main

EMBEDDED = "nb201-resnet-like-mini"


def run(*arguments: str | Path) -> tuple[int, str]:
    """Return exit code and everything printed."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "blue.png"
    Image.new("RGB", (48, 40), (40, 80, 200)).save(path)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    code, output = run(name, "--help")
    assert code == 0
    assert "Usage:" in output


def test_unknown_command_gets_a_suggestion() -> None:
    code, output = run("verfy")
    assert code == 2
    assert "Did you mean 'verify'?" in output


def test_list_filters_and_sorts() -> None:
    code, output = run("list", "proxyless-*", "--max-macs", "330", "--json")
    assert code == 0
    records = json.loads(output)
    assert "proxyless-mobile" in records and "proxyless-cpu" not in records
    _, table = run("list", "--space", "NasBench201", "--sort", "params")
    names = [line.split()[0] for line in table.splitlines()[1:-1]]
    sizes = [zoo.model_info(name).parameters for name in names]
    assert sizes == sorted(sizes) and sorted(names) == zoo.NasBench201.searched_models()


def test_list_of_an_unknown_space_suggests_one() -> None:
    code, output = run("list", "--space", "ProxylesNAS")
    assert code == 2
    assert "Did you mean 'ProxylessNAS'?" in output


def test_list_of_an_unknown_data_set_suggests_one() -> None:
    code, output = run("list", "--dataset", "imagenet")
    assert code == 2
    assert "no model is for a data set named 'imagenet'. Did you mean 'imagenet-1k'" in output


def test_info_shows_sources_and_choices() -> None:
    code, output = run("info", "proxyless-w0.3")
    assert code == 0
    assert "7bf8e05bbeebda76cbf2ea2dd596dedee7e3f343" in output
    assert '["k7e3", "k3e3", "k5e3", "k5e3"]' in output
    code, output = run("info", "proxyless-w0.3", "--json")
    assert json.loads(output)["parameters"] == 423_232


def test_info_keeps_long_choices_apart_and_shows_every_published_digest() -> None:
    _, output = run("info", "darts-v1")
    assert '  normal/op_2_0     "sep_conv_3x3"\n' in output
    _, output = run("info", "proxyless-mobile")
    assert "git_blob_sha1 1d3c5de6f8c075aa17544e6479df613d442fc5ae" in output


def test_info_of_a_typo_names_the_model_that_was_meant() -> None:
    code, output = run("info", "proxyless_mobil")
    assert code == 2
    assert "Did you mean 'proxyless-mobile'" in output


def test_verify_and_demo_need_no_network(closed_network: object) -> None:
    code, output = run("verify", EMBEDDED)
    assert code == 0
    assert "verified: logits within" in output
    code, output = run("demo")
    assert code == 0
    assert "an airplane" in output and "as recorded" in output


def test_verify_all_covers_the_embedded_model() -> None:
    code, output = run("verify", "--all")
    assert code == 0
    assert EMBEDDED in output


def test_verify_all_covers_what_is_in_the_cache(
    zoo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And goes on behind a model that fails."""
    source = Path(zoo.__file__).parent / "weights" / f"{EMBEDDED}.safetensors"
    record = json.loads(run("info", EMBEDDED, "--json")[1])
    (file,) = record["weights"]
    record["architecture"] = str(Path(zoo.__file__).parent / record["architecture"])
    file["sources"] = ["https://example.org/net.safetensors"]
    monkeypatch.setenv("ZOO_MANIFESTS", str(write_manifest(tmp_path, {"fetched": record})))
    code, output = run("verify", "--all")
    assert code == 0 and "fetched" not in output
    (zoo_cache / "blobs").mkdir(parents=True)
    (zoo_cache / "blobs" / file["sha256"]).write_bytes(source.read_bytes())
    code, output = run("verify", "--all")
    assert code == 0 and "fetched: native-half file" in output
    record["golden"][0]["logits"][0] += 1
    write_manifest(tmp_path, {"fetched": record})
    code, output = run("verify", "fetched", EMBEDDED)
    assert code == 1
    assert "failed: fetched: the logits" in output and f"{EMBEDDED}: native-half" in output
    assert "1 of 2 models failed: fetched" in output


def test_verify_without_a_name_says_what_to_do() -> None:
    code, output = run("verify")
    assert code == 2
    assert "use --all" in output


def test_predict_prints_labels(picture: Path) -> None:
    code, output = run("predict", EMBEDDED, picture, "--top", "2", "--json")
    assert code == 0
    ((label, probability), second) = json.loads(output)[str(picture)]
    assert label in zoo.model_info(EMBEDDED).labels
    assert 1 >= probability >= second[1] > 0


def test_predict_names_a_broken_image(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    code, output = run("predict", EMBEDDED, broken)
    assert code == 2
    assert f"{broken}: not a readable image" in output
    code, output = run("predict", EMBEDDED, tmp_path / "absent.jpg")
    assert code == 2
    assert "no such file" in output


def test_predict_goes_on_behind_a_broken_image(picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    code, output = run("predict", EMBEDDED, broken, picture, "--top", "1")
    assert code == 2
    assert f"{picture}\n  " in output
    assert output.index(str(picture)) < output.index(f"error: {broken}: not a readable image")


def test_ctrl_c_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not 1, which says that an accuracy did not hold."""

    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.cli.list.list_models", interrupt)
    code, output = run("list")
    assert code == 130
    assert output.strip() == "stopped"
    assert "130 stopped" in " ".join(run("--help")[1].split())


def test_draw_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    target = tmp_path / "none" / "net.svg"
    code, output = run("draw", EMBEDDED, "--to", target)
    assert code == 2
    assert f"{target}: cannot be written: No such file or directory" in output


def test_schema_is_json() -> None:
    code, output = run("schema")
    assert code == 0
    assert "ModelRecord" in json.loads(output)["$defs"]


def test_convert_then_hash_then_load(tmp_path: Path) -> None:
    net = zoo.load_searched_model(EMBEDDED, pretrained=False)
    source, target = tmp_path / "old.pth", tmp_path / "new.safetensors"
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, source)
    code, output = run("convert", EMBEDDED, source, target)
    assert code == 0, output
    code, output = run("convert", EMBEDDED, source, target)
    assert code == 2 and "use --force" in output
    code, output = run("hash", target)
    facts = json.loads(output)
    assert facts["zoo.architecture_hash"] == net.architecture_hash
    assert facts["sha256"] in run("convert", EMBEDDED, source, target, "--force")[1]
    loaded = zoo.load_searched_model(EMBEDDED, checkpoint=target)
    assert torch.equal(loaded.classifier.weight, net.classifier.weight)
    code, output = run("convert", EMBEDDED, target, target.with_stem("half"), "--half")
    assert code == 0, output
    assert target.with_stem("half").stat().st_size < 0.6 * target.stat().st_size
    loaded = zoo.load_searched_model(EMBEDDED, checkpoint=target.with_stem("half"))
    assert torch.equal(loaded.classifier.weight, net.classifier.weight.half().float())


def test_hash_of_an_architecture_file() -> None:
    path = Path(zoo.__file__).parent / "architectures/nasbench201/resnet-like.json"
    code, output = run("hash", path)
    assert code == 0
    net = zoo.load_searched_model("nb201-resnet-like", pretrained=False)
    assert json.loads(output)["architecture_hash"] == net.architecture_hash


def test_fetch_offline_opens_no_socket_and_says_what_would_help(
    closed_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS 1, 61."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    code, output = run("fetch", "proxyless-mobile")
    assert code == 3
    assert "zoo fetch proxyless-mobile" in output
    assert closed_network == []
