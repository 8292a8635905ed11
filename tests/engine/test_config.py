import pytest

from engine.config import PREFIX, ConfigError, Settings, load, show


def test_each_place_goes_before_the_one_before(tmp_path):
    file = tmp_path / "vigie.toml"
    file.write_text('port = 1001\nhost = "::1"\nshards = 3\nprotocols = ["covidom"]\n')
    environment = {"VIGIE_PORT": "1002", "VIGIE_HOST": "::", "HOME": "/", "VIGIE_STOP_S": ""}
    settings, origins = load(file, {"port": 1003, "data": None}, environment)
    assert (settings.port, settings.host, settings.shards, settings.stop_s) == (1003, "::", 3, 30.0)
    assert settings.protocols == ("covidom",)
    assert (origins["port"], origins["host"], origins["shards"], origins["stop_s"]) == (
        "command line",
        "VIGIE_HOST",
        str(file),
        "default",
    )


def test_the_file_may_be_named_by_the_environment(tmp_path):
    (tmp_path / "vigie.toml").write_text("port = 1001\n")
    settings, _ = load(environment={"VIGIE_CONFIG": str(tmp_path / "vigie.toml")})
    assert settings.port == 1001


def test_paths_of_a_file_are_meant_from_where_it_is(tmp_path):
    file = tmp_path / "vigie.toml"
    file.write_text('data = "there"\nenrolment = "/elsewhere/enrolment.csv"\n')
    settings, _ = load(file, environment={})
    assert settings.data == tmp_path / "there"
    assert str(settings.enrolment) == "/elsewhere/enrolment.csv"


def test_a_list_from_the_environment():
    assert load(environment={"VIGIE_PROTOCOLS": "covidom, rhythmologie"})[0].protocols == (
        "covidom",
        "rhythmologie",
    )


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("prot = 1", {}, "vigie.toml: prot: there is no such setting; did you mean 'port'"),
        ("", {"VIGIE_SHARD": "1"}, "VIGIE_SHARD: there is no such setting; did you mean 'VIGIE_SHARDS'"),
        ("port = 70000", {}, r"port \(.*vigie.toml\): 70000: input should be less than or equal to 65535"),
        ("", {"VIGIE_SHARDS": "x"}, r"shards \(VIGIE_SHARDS\): 'x': input should be a valid integer"),
        ("checkpoint_s = 0", {}, "checkpoint_s .*: 0: input should be greater than 0"),
        ('tls_key = "x"', {}, "tls_certificate and tls_key: both or neither"),
        ("port = = 1", {}, "vigie.toml: is not TOML"),
        ("protocols = []", {}, "protocols"),
        ('log_format = "xml"', {}, "'text' or 'json'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, environment, said):
    file = tmp_path / "vigie.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(file, environment=environment)


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    file = tmp_path / "vigie.toml"
    file.write_text("a = 1\nb = 2\n")
    with pytest.raises(ConfigError) as refused:
        load(file, environment={"VIGIE_C": "3"})
    assert len(str(refused.value).splitlines()) == 3


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(tmp_path / "none.toml", environment={})


def test_secrets_are_hidden():
    database = "postgresql+psycopg://vigie:s3cret@db.example/queue"
    shown = show(*load(environment={"VIGIE_DATABASE": database}))
    assert all("s3cret" not in each.value for each in shown)
    (queue,) = (each for each in shown if each.name == "database")
    assert queue.value == "postgresql+psycopg://vigie:***@db.example/queue"
    assert queue.origin == "VIGIE_DATABASE"


def test_variables_that_are_no_settings_are_left_alone():
    load(environment={"VIGIE_ECG": "x", "VIGIE_DEBUG": "1", "VIGIE_TEST_WHEEL": "full", "OTHER": "1"})


def test_every_setting_says_what_it_is():
    shown = show(*load(environment={}))
    assert [each.name for each in shown] == list(Settings.model_fields)
    assert all(each.about and each.origin == "default" for each in shown)
    assert all(name == name.lower() and PREFIX not in name for name in Settings.model_fields)
