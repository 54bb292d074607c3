"""Where sockets go, who may enter, and who may run servers from a folder."""

import os
from pathlib import Path

import pytest

from config import local_services


def test_sockets_stay_inside_the_folder_when_the_path_is_short():
    assert local_services.socket_folder(Path("/srv/tallyrun/var")) == Path("/srv/tallyrun/var/run")


@pytest.mark.parametrize(
    "folder", ["/srv/" + "long/" * 30 + "var", "/srv/with space/var", "/srv/façade/var", "/srv/a?b/var"]
)
def test_sockets_leave_long_and_odd_paths(folder):
    sockets = local_services.socket_folder(Path(folder))
    assert str(os.getuid()) in sockets.name
    assert len(str(sockets)) < 80
    assert sockets != local_services.socket_folder(Path(folder + "2"))


def test_only_we_may_enter_the_socket_folder(tmp_path):
    with local_services.exclusive(tmp_path):
        assert local_services.socket_folder(tmp_path).stat().st_mode & 0o777 == 0o700


def test_one_folder_serves_one_process_at_a_time(tmp_path):
    with (
        local_services.exclusive(tmp_path),
        pytest.raises(local_services.ServiceError, match=rf"Already running .*\(process {os.getpid()}\)"),
        local_services.exclusive(tmp_path),
    ):
        pass
    with local_services.exclusive(tmp_path):
        pass


def test_a_socket_folder_of_someone_else_is_refused(tmp_path):
    elsewhere = tmp_path / "trap"
    elsewhere.mkdir()
    # Beside the data only where that path is short enough for a socket, which depends on the name of who runs this.
    sockets = local_services.socket_folder(tmp_path / "var")
    sockets.parent.mkdir(parents=True, exist_ok=True)
    sockets.symlink_to(elsewhere)
    try:
        with (
            pytest.raises(local_services.ServiceError, match="belongs to another user"),
            local_services.exclusive(tmp_path / "var"),
        ):
            pass
    finally:
        sockets.unlink()
